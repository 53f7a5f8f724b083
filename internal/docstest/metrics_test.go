package docstest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jurymast/jurymast/server"
	"github.com/jurymast/jurymast/server/api"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/backup"
	"github.com/jurymast/jurymast/server/detect"
	"github.com/jurymast/jurymast/server/engine"
	"github.com/jurymast/jurymast/server/notify"
	"github.com/jurymast/jurymast/server/retention"
	"github.com/jurymast/jurymast/server/schedule"
	"github.com/jurymast/jurymast/server/store"
)

// described is a registerer that notes what it is given: a scrape doesn't show a metric with labels before it has counted
// something, its description does.
type described struct {
	prometheus.Registerer
	labels map[string][]string // by metric
}

// description is the only way to a description's name and labels.
var description = regexp.MustCompile(`^Desc\{fqName: "(\w+)".*variableLabels: \{(.*)\}\}$`)

// Register implements [prometheus.Registerer].
func (d *described) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	var failed error
	for desc := range descs {
		match := description.FindStringSubmatch(desc.String())
		if match == nil {
			failed = fmt.Errorf("can't read the description %s", desc)
			continue
		}
		labels := strings.FieldsFunc(match[2], func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(labels)
		d.labels[match[1]] = labels
	}
	return failed
}

// MustRegister implements [prometheus.Registerer].
func (d *described) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := d.Register(c); err != nil {
			panic(err)
		}
	}
}

// registeredMetrics are those that the parts of the server register, with their labels.
func registeredMetrics(t *testing.T) map[string][]string {
	t.Helper()
	memory := store.NewMemory(store.MemoryOptions{})
	t.Cleanup(func() { _ = memory.Close() })
	st := store.New(store.Options{Backend: memory})
	t.Cleanup(st.Close)
	keeper := store.NewKeeper(st, store.SessionOptions{Replica: "docs"})
	d := &described{labels: map[string][]string{}}
	engine.New(engine.Options{Store: st, Sessions: keeper, Registerer: d})
	retention.New(retention.Options{Store: st, Registerer: d})
	schedule.New(schedule.Options{Store: st, Sessions: keeper, Registerer: d})
	_, errBackup := backup.New(backup.Options{Store: st, Dir: t.TempDir(), Replica: "docs", Registerer: d})
	_, errDetect := detect.New(detect.Options{Store: st, Keeper: keeper, Replica: "docs", Registerer: d})
	_, errNotify := notify.New(notify.Options{Store: st, Sessions: keeper, Registry: d})
	who, errAuth := auth.New(auth.Options{})
	_, errAPI := api.New(api.Options{Store: st, Registry: d, Auth: who})
	for _, err := range []error{errBackup, errDetect, errNotify, errAuth, errAPI} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return d.labels
}

// scrapedMetrics are those of ours that a server shows which has done nothing yet.
func scrapedMetrics(t *testing.T) []string {
	t.Helper()
	o := server.DefaultOptions(t.TempDir())
	o.GRPCListen, o.HTTPListen, o.UnsafeNoFsync = "127.0.0.1:0", "127.0.0.1:0", true
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addrs().HTTP+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", response.Status, err, text)
	}
	return shownMetrics(string(text))
}

// shownMetrics are the metrics of ours in a scrape.
func shownMetrics(text string) []string {
	var names []string
	for line := range strings.SplitSeq(text, "\n") {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "TYPE" && strings.HasPrefix(fields[2], "jurymast_") {
			names = append(names, fields[2])
		}
	}
	return names
}

var code = regexp.MustCompile("`(\\w+)`")

// tableMetrics are those that docs/metrics.md has a row for, with their labels.
func tableMetrics(text string) map[string][]string {
	metrics := map[string][]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "| `jurymast_") {
			continue
		}
		cells := strings.Split(line, "|")
		labels := []string{}
		for _, match := range code.FindAllStringSubmatch(cells[3], -1) {
			labels = append(labels, match[1])
		}
		slices.Sort(labels)
		metrics[strings.Trim(cells[1], " `")] = labels
	}
	return metrics
}

// metricWord is a metric of ours in a document; a histogram's series have endings of their own.
var (
	metricWord   = regexp.MustCompile(`\bjurymast_[a-z0-9_]+\b`)
	seriesEnding = regexp.MustCompile(`_(bucket|count|sum)$`)
)

// TestMetricsAreDocumented compares the table with what is registered and with what a real server shows, and what other
// documents name with the table.
func TestMetricsAreDocumented(t *testing.T) {
	table := tableMetrics(read(t, filepath.Join(repository(t), "docs", "metrics.md")))
	registered := registeredMetrics(t)
	for name, labels := range registered {
		if got, ok := table[name]; !ok || !slices.Equal(got, labels) {
			t.Errorf("docs/metrics.md has %s with %q, the server with %q", name, got, labels)
		}
	}
	for name := range table {
		if _, ok := registered[name]; !ok {
			t.Errorf("docs/metrics.md has %s, which no part registers", name)
		}
	}
	shown := scrapedMetrics(t)
	if len(shown) == 0 {
		t.Error("a server shows no metric of ours")
	}
	for _, name := range shown {
		if _, ok := table[name]; !ok {
			t.Errorf("a server shows %s, which docs/metrics.md doesn't have", name)
		}
	}
	for _, d := range documents(t) {
		for _, name := range metricWord.FindAllString(d.text, -1) {
			_, ok := table[name]
			if _, series := table[seriesEnding.ReplaceAllString(name, "")]; !ok && !series {
				t.Errorf("%s: there is no metric %s", d.path, name)
			}
		}
	}
}

func TestMetricsAreRead(t *testing.T) {
	d := &described{labels: map[string][]string{}}
	d.MustRegister(prometheus.NewCounterVec(prometheus.CounterOpts{Name: "jurymast_a", Help: "A, {b}."}, []string{"y", "x"}))
	d.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "jurymast_b", Help: "B."}))
	if !slices.Equal(d.labels["jurymast_a"], []string{"x", "y"}) || len(d.labels["jurymast_b"]) != 0 || len(d.labels) != 2 {
		t.Errorf("described are %v", d.labels)
	}
	table := tableMetrics("| metric | kind | labels |\n| `jurymast_a` | counter | `y`, `x` | `z` |\n`jurymast_b`\n")
	if !slices.Equal(table["jurymast_a"], []string{"x", "y"}) || len(table) != 1 {
		t.Errorf("the table holds %v", table)
	}
	if got := shownMetrics("# TYPE jurymast_a counter\n# TYPE go_b gauge\njurymast_c 1\n"); !slices.Equal(got, []string{"jurymast_a"}) {
		t.Errorf("shown are %q", got)
	}
}
