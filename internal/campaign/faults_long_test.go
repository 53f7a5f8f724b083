//go:build campaign

package campaign

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/cluster"
)

// Campaign C4 on processes: every kind of the table that names this test is raised during traffic, one after the other.
// JURYMAST_KINDS, a list with commas, restricts it; with -short two kinds of the seed's choice are raised.
func TestKindsOfFaultsOnProcesses(t *testing.T) {
	f := newField(t, cluster.Options{SessionTTL: 5 * time.Second, QuotaBytes: 48 << 20})
	kinds := processKinds()
	var names []string
	for _, fault := range Faults() {
		if _, ok := kinds[fault.Name]; ok {
			names = append(names, fault.Name)
		}
	}
	if only := os.Getenv("JURYMAST_KINDS"); only != "" {
		names = strings.Split(only, ",")
	} else if testing.Short() {
		f.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = slices.Sorted(slices.Values(names[:2]))
	}
	for _, name := range names {
		if _, ok := kinds[name]; !ok {
			t.Fatalf("there is no kind %s", name)
		}
		f.run(name, kinds[name])
		if t.Failed() {
			t.Fatalf("ended at %s", name)
		}
	}
	f.finish()
}
