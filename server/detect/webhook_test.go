package detect

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/store/storetest"
)

// post sends a body to the handler and returns the answer with its body.
func (r *replica) post(path, body string, options ...func(*http.Request)) (*http.Response, string) {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for _, o := range options {
		o(req)
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	resp := w.Result()
	text, _ := io.ReadAll(resp.Body)
	return resp, strings.TrimSpace(string(text))
}

func (r *replica) wantAnswer(status int, body, path, posted string, options ...func(*http.Request)) {
	r.t.Helper()
	resp, text := r.post(path, posted, options...)
	if resp.StatusCode != status || body != "" && text != body {
		r.t.Errorf("POST %s: %d %s, want %d %s", path, resp.StatusCode, text, status, body)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/json" && status != http.StatusNotFound || !json.Valid([]byte(text)) && status != http.StatusNotFound {
		r.t.Errorf("POST %s: %s answer %s", path, kind, text)
	}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func shows(secret string) func(*http.Request) { return header("Authorization", "Bearer "+secret) }

// firing and resolved are Alertmanager's bodies for alerts of one name, one for each fingerprint.
func firing(starts time.Time, fingerprints ...string) string {
	return alertBody("firing", starts, time.Time{}, fingerprints...)
}

func resolved(starts, ends time.Time, fingerprints ...string) string {
	return alertBody("resolved", starts, ends, fingerprints...)
}

func alertBody(status string, starts, ends time.Time, fingerprints ...string) string {
	var alerts []map[string]any
	for _, f := range fingerprints {
		alerts = append(alerts, map[string]any{
			"status": status, "labels": map[string]string{"alertname": "ChatErrors", "severity": "critical", "provider": "openai"},
			"annotations": map[string]string{"summary": "5xx above 20%"}, "startsAt": starts, "endsAt": ends,
			"generatorURL": "http://prometheus.example/graph", "fingerprint": f,
		})
	}
	b, _ := json.Marshal(map[string]any{
		"version": "4", "groupKey": `{}:{alertname="ChatErrors"}`, "truncatedAlerts": 0, "status": status, "receiver": "jurymast",
		"groupLabels": map[string]string{}, "commonLabels": map[string]string{}, "commonAnnotations": map[string]string{},
		"externalURL": "http://alertmanager.example", "alerts": alerts, "a_key_of_tomorrow": true,
	})
	return string(b)
}

const am = "/v1/webhooks/alertmanager/am"

// withHook runs a test with a detector of Alertmanager's and one of our format, which need no secret.
func withHook(t *testing.T, w *jv1.WebhookDetector, run func(t *testing.T, r *replica, f *storetest.Faulty)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		f := storetest.NewFaulty(m)
		defer f.Close()
		r := start(t, f, "r1", func(o *Options) { o.Authorize = func(*http.Request) error { return nil } })
		w.Format = jv1.WebhookFormat_WEBHOOK_FORMAT_ALERTMANAGER
		r.put(append(chat(nil), detector(hook("am", w)), detector(reporter("alerts")))...)
		run(t, r, f)
	})
}

func TestAlertmanagerOrder(t *testing.T) {
	type sent struct {
		body   func(t0 time.Time) string
		answer string
		wait   time.Duration
	}
	fire := func(after time.Duration) func(time.Time) string {
		return func(t0 time.Time) string { return firing(t0.Add(after), "a") }
	}
	resolve := func(starts, ends time.Duration) func(time.Time) string {
		return func(t0 time.Time) string { return resolved(t0.Add(starts), t0.Add(ends), "a") }
	}
	const isNew, isKnown = `{"accepted":1,"absorbed":0}`, `{"accepted":0,"absorbed":1}`
	for _, test := range []struct {
		name  string
		sent  []sent
		state jv1.SignalState
	}{
		{"fires and ends", []sent{{fire(0), isNew, time.Minute}, {resolve(0, time.Minute), isNew, 0}}, stateOK},
		{"is repeated", []sent{{fire(0), isNew, time.Second}, {fire(0), isKnown, 0}}, stateFailing},
		{"ends twice", []sent{{fire(0), isNew, time.Minute}, {resolve(0, time.Minute), isNew, 0}, {resolve(0, time.Minute), isKnown, 0}}, stateOK},
		{"the end of an older one is late", []sent{{fire(-time.Minute), isNew, 0}, {fire(0), isNew, 0}, {resolve(-time.Minute, -30*time.Second), isKnown, 0}}, stateFailing},
		{"an older one is late", []sent{{fire(0), isNew, 0}, {fire(-time.Minute), isKnown, 0}}, stateFailing},
		{"a copy of the beginning is late", []sent{{fire(0), isNew, time.Minute}, {resolve(0, time.Minute), isNew, 10 * time.Second}, {fire(0), isKnown, 0}}, stateOK},
		{"is taken up again", []sent{{fire(0), isNew, time.Minute}, {resolve(0, time.Minute), isNew, reorderWindow}, {fire(0), isNew, 0}}, stateFailing},
		{"fires again", []sent{{fire(0), isNew, time.Minute}, {resolve(0, time.Minute), isNew, 0}, {fire(time.Minute), isNew, 0}}, stateFailing},
		{"ends without a beginning", []sent{{resolve(-time.Minute, 0), isNew, 0}}, stateOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			withHook(t, &jv1.WebhookDetector{}, func(t *testing.T, r *replica, _ *storetest.Faulty) {
				began := time.Now().UTC()
				for i, s := range test.sent {
					r.wantAnswer(http.StatusOK, s.answer, am, s.body(began))
					time.Sleep(s.wait)
					_ = i
				}
				time.Sleep(time.Second)
				all := r.reports()
				if len(all) != 1 || all[0].GetSignal().GetState() != test.state {
					t.Errorf("stored %v", all)
				}
			})
		})
	}
}

// TestAlertmanagerRepetitionRenews: an alert that is repeated for longer than it counts goes on counting.
func TestAlertmanagerRepetitionRenews(t *testing.T) {
	withHook(t, &jv1.WebhookDetector{}, func(t *testing.T, r *replica, _ *storetest.Faulty) {
		began := time.Now().UTC()
		for range 4 {
			r.wantAnswer(http.StatusOK, "", am, firing(began, "a"))
			time.Sleep(4 * time.Hour)
		}
		r.wantHealth("openai", suspect, OneClassFailing)
		if s := r.reports()[0].GetSignal(); !s.GetObservedAt().AsTime().Equal(began) {
			t.Errorf("seen since %v, began at %v", s.GetObservedAt().AsTime(), began)
		}
		time.Sleep(2 * time.Hour)
		r.wantHealth("openai", unknown, NoEvidence)
	})
}

func TestAlertmanagerIsFiltered(t *testing.T) {
	const taken, ignored = `{"accepted":1,"absorbed":0}`, `{"accepted":0,"absorbed":0,"ignored":1}`
	for _, test := range []struct {
		hook   *jv1.WebhookDetector
		answer string
	}{
		{&jv1.WebhookDetector{}, taken},
		{&jv1.WebhookDetector{Alertname: "ChatErrors"}, taken},
		{&jv1.WebhookDetector{Alertname: "Other"}, ignored},
		{&jv1.WebhookDetector{Labels: map[string]string{"severity": "critical", "provider": "openai"}}, taken},
		{&jv1.WebhookDetector{Labels: map[string]string{"severity": "critical", "region": "eu"}}, ignored},
	} {
		withHook(t, test.hook, func(t *testing.T, r *replica, _ *storetest.Faulty) {
			r.wantAnswer(http.StatusOK, test.answer, am, firing(time.Now(), "a"))
		})
	}
}

func TestAlertmanagerWithoutAProviderTakesTheLabels(t *testing.T) {
	withHook(t, &jv1.WebhookDetector{}, func(t *testing.T, r *replica, _ *storetest.Faulty) {
		d := hook("am", &jv1.WebhookDetector{Format: jv1.WebhookFormat_WEBHOOK_FORMAT_ALERTMANAGER})
		d.Provider = ""
		r.put(detector(d))
		body := firing(time.Now(), "a")
		r.wantAnswer(http.StatusOK, `{"accepted":1,"absorbed":0}`, am, body)
		r.wantAnswer(http.StatusForbidden, "", am, strings.ReplaceAll(body, `"provider":"openai"`, `"provider":"stranger"`))
		r.wantAnswer(http.StatusBadRequest, "", am, strings.ReplaceAll(body, `"provider":"openai"`, `"x":"y"`))
		time.Sleep(time.Second)
		if all := r.reports(); len(all) != 1 || all[0].GetSignal().GetProvider() != "openai" {
			t.Errorf("stored %v", all)
		}
	})
}

func TestAlertmanagerGroups(t *testing.T) {
	withHook(t, &jv1.WebhookDetector{ValidFor: durationpb.New(time.Hour)}, func(t *testing.T, r *replica, _ *storetest.Faulty) {
		now := time.Now()
		var many []string
		for i := range 130 {
			many = append(many, fmt.Sprintf("%016x", i))
		}
		r.wantAnswer(http.StatusOK, `{"accepted":130,"absorbed":0}`, am, firing(now, many...))
		time.Sleep(time.Second)
		r.wantHealth("openai", suspect, OneClassFailing)
		// The group still fires: what counts is each alert's own status.
		mixed := strings.Replace(firing(now, many[1:]...), `"alerts":[`, `"alerts":[{"status":"resolved","fingerprint":"`+many[0]+
			`","startsAt":"`+now.Format(time.RFC3339Nano)+`","endsAt":"`+now.Add(time.Second).Format(time.RFC3339Nano)+`"},`, 1)
		r.wantAnswer(http.StatusOK, `{"accepted":1,"absorbed":129}`, am, mixed)
		time.Sleep(time.Second)
		states := map[jv1.SignalState]int{}
		for _, rep := range r.reports() {
			states[rep.GetSignal().GetState()]++
			if until := rep.GetSignal().GetValidUntil().AsTime(); until.After(now.Add(time.Hour + 2*time.Second)) {
				t.Errorf("valid until %v", until)
			}
		}
		if states[stateOK] != 1 || states[stateFailing] != 129 {
			t.Errorf("stored %v", states)
		}
		r.wantHealth("openai", suspect, OneClassFailing)
		r.wantAnswer(http.StatusOK, "", am, resolved(now, now.Add(time.Second), many...))
		time.Sleep(time.Second)
		r.wantHealth("openai", healthy, EvidenceOK)
	})
}

// TestAlertmanagerSamples reads bodies that Alertmanager's own code made, where they are at hand.
func TestAlertmanagerSamples(t *testing.T) {
	read := func(name string) string {
		dir := os.Getenv("JURYMAST_SAMPLES")
		if dir == "" {
			dir = filepath.Join("..", "..", "..", "shared", "samples")
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Skipf("no samples of other systems' bodies here, set JURYMAST_SAMPLES to their folder: %v", err)
		}
		return string(b)
	}
	fires, ends := read("alertmanager-v4-firing.json"), read("alertmanager-v4-resolved.json")
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(store.MemoryOptions{})
		defer m.Close()
		clock := time.Until(time.Date(2026, 9, 29, 17, 51, 0, 0, time.UTC))
		r := start(t, m, "r1", func(o *Options) {
			o.Authorize = func(*http.Request) error { return nil }
			o.Now = func() time.Time { return time.Now().Add(clock) }
		})
		r.put(append(chat(immediate(rule(1))), detector(hook("am", &jv1.WebhookDetector{
			Format: jv1.WebhookFormat_WEBHOOK_FORMAT_ALERTMANAGER, Alertname: "ProviderErrorRateHigh", Labels: map[string]string{"component": "chat-completions"},
		})))...)
		r.wantAnswer(http.StatusOK, `{"accepted":1,"absorbed":0,"ignored":1}`, am, fires)
		time.Sleep(time.Second)
		r.wantHealth("openai", failing, QuorumFailing)
		if h := r.health("openai"); h.GetOnset().AsTime() != time.Date(2026, 9, 29, 17, 50, 15, 0, time.UTC) ||
			h.GetEvidence()[0].GetSummary() != "ProviderErrorRateHigh: 5xx ratio of chat-completions above 20% for 2m" {
			t.Errorf("health %v", h)
		}
		time.Sleep(time.Hour)
		r.wantAnswer(http.StatusOK, `{"accepted":1,"absorbed":0,"ignored":1}`, am, ends)
		time.Sleep(time.Second)
		r.wantHealth("openai", recovering, OkAgain)
	})
}

// codeOf reads an error as everything of the API shows it: a google.rpc.Status with an ErrorInfo of ours.
func codeOf(t *testing.T, body string) codes.Code {
	t.Helper()
	var st spb.Status
	if err := protojson.Unmarshal([]byte(body), &st); err != nil {
		t.Errorf("not a status: %v: %s", err, body)
		return codes.OK
	}
	for _, d := range status.FromProto(&st).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "jurymast" && info.GetReason() != "" && st.GetMessage() != "" {
			return codes.Code(st.GetCode())
		}
	}
	t.Errorf("an error without a reason: %s", body)
	return codes.OK
}

func TestHandlerRefuses(t *testing.T) {
	withHook(t, &jv1.WebhookDetector{}, func(t *testing.T, r *replica, f *storetest.Faulty) {
		good := firing(time.Now(), "a")
		for _, test := range []struct {
			name    string
			path    string
			body    string
			options []func(*http.Request)
			status  int
		}{
			{"unknown source", "/v1/webhooks/alertmanager/nobody", good, nil, 404},
			{"a source of another form", "/v1/webhooks/alertmanager/alerts", good, nil, 404},
			{"a source of another form", "/v1/signals/am", `{"state":"ok"}`, nil, 404},
			{"no source", "/v1/signals/", `{"state":"ok"}`, nil, 404},
			{"text", am, good, []func(*http.Request){header("Content-Type", "text/plain")}, 415},
			{"no type", am, good, []func(*http.Request){header("Content-Type", "")}, 415},
			{"a charset is fine", am, good, []func(*http.Request){header("Content-Type", "application/json; charset=utf-8")}, 200},
			{"GET", am, good, []func(*http.Request){func(r *http.Request) { r.Method = http.MethodGet }}, 405},
			{"too long", am, `{"version":"4","x":"` + strings.Repeat("x", maxBody) + `"}`, nil, 413},
			{"empty", am, ``, nil, 400},
			{"no JSON", am, `{"version":`, nil, 400},
			{"no object", am, `[1]`, nil, 400},
			{"another version", am, strings.Replace(good, `"version":"4"`, `"version":"5"`, 1), nil, 400},
			{"no version", am, `{}`, nil, 400},
			{"no alerts", am, `{"version":"4"}`, nil, 200},
			{"no status", am, strings.ReplaceAll(good, `"status":"firing"`, `"status":"x"`), nil, 400},
			{"no time", am, `{"version":"4","alerts":[{"status":"firing"}]}`, nil, 400},
			{"a wrong time", am, `{"version":"4","alerts":[{"status":"firing","startsAt":"yesterday"}]}`, nil, 400},
			{"the future", am, firing(time.Now().Add(MaxSkew+time.Second), "a"), nil, 400},
			{"a state nobody knows", "/v1/signals/alerts", `{"state":"down"}`, nil, 400},
			{"a severity nobody knows", "/v1/signals/alerts", `{"state":"ok","severity":"high"}`, nil, 400},
			{"an unknown key", "/v1/signals/alerts", `{"state":"ok","text":"x"}`, nil, 400},
			{"two signals", "/v1/signals/alerts", `{"state":"ok"} {"state":"ok"}`, nil, 400},
			{"another's provider", "/v1/signals/alerts", `{"state":"ok","provider":"azure"}`, nil, 403},
			{"a signal of the future", "/v1/signals/alerts", `{"state":"ok","observed_at":"2999-01-01T00:00:00Z"}`, nil, 400},
		} {
			resp, text := r.post(test.path, test.body, test.options...)
			if resp.StatusCode != test.status {
				t.Errorf("%s: %d %s, want %d", test.name, resp.StatusCode, text, test.status)
			}
			if test.status >= 300 && codeOf(t, text) == codes.OK {
				t.Errorf("%s: an error without a code: %s", test.name, text)
			}
		}
		if resp, _ := r.post(am, good, func(r *http.Request) { r.Method = http.MethodPut }); resp.Header.Get("Allow") != http.MethodPost {
			t.Errorf("allowed: %v", resp.Header)
		}
		f.SetDown(true)
		resp, text := r.post(am, firing(time.Now().Add(-time.Minute), "b"))
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" || codeOf(t, text) != codes.Unavailable {
			t.Errorf("while the store is away: %d, Retry-After %q, %s", resp.StatusCode, resp.Header.Get("Retry-After"), text)
		}
		time.Sleep(10 * time.Second)
		r.wantAnswer(http.StatusServiceUnavailable, "", "/v1/webhooks/alertmanager/new-one", good)
		f.SetDown(false)
		time.Sleep(5 * time.Second)
		r.wantAnswer(http.StatusOK, `{"accepted":1,"absorbed":0}`, am, firing(time.Now().Add(-time.Minute), "b"))
	})
}

func TestHandlerTakesSignals(t *testing.T) {
	withHook(t, &jv1.WebhookDetector{}, func(t *testing.T, r *replica, _ *storetest.Faulty) {
		const body = `{"signal_id":"g-1","state":"failing","provider":"openai","component":"chat","severity":"critical","summary":"it \"fails\"",
			"observed_at":"2000-01-01T00:00:00Z","labels":{"a":"b"},"evidence":{"code":[500,502]}}`
		r.wantAnswer(http.StatusOK, `{"accepted":1,"absorbed":0}`, "/v1/signals/alerts", body)
		r.wantAnswer(http.StatusOK, `{"accepted":0,"absorbed":1}`, "/v1/signals/alerts", body)
		time.Sleep(time.Second)
		s := r.reports()[0].GetSignal()
		want := map[string]string{"a": "b", "component": "chat", "severity": "critical", "evidence": `{"code":[500,502]}`}
		if s.GetSummary() != `it "fails"` || s.GetSignalId() != "g-1" || len(s.GetLabels()) != len(want) {
			t.Errorf("stored %v", s)
		}
		for name, value := range want {
			if s.GetLabels()[name] != value {
				t.Errorf("label %s is %q", name, s.GetLabels()[name])
			}
		}
		r.wantHealth("openai", suspect, OneClassFailing)
		r.wantAnswer(http.StatusOK, `{"accepted":1,"absorbed":0}`, "/v1/signals/alerts", `{"state":"ok","component":"chat"}`)
		time.Sleep(time.Second)
		r.wantHealth("openai", healthy, EvidenceOK)
	})
}

func TestHandlerAdmits(t *testing.T) {
	t.Setenv("AM_SECRET", "one")
	file := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(file, []byte("old-one\n\n new-one \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		secret    string
		authorize func(*http.Request) error
		options   []func(*http.Request)
		status    int
	}{
		{"the secret", "env:AM_SECRET", nil, []func(*http.Request){shows("one")}, 200},
		{"any case of the scheme", "env:AM_SECRET", nil, []func(*http.Request){header("Authorization", "bearer one")}, 200},
		{"no secret shown", "env:AM_SECRET", nil, nil, 401},
		{"an empty one", "env:AM_SECRET", nil, []func(*http.Request){header("Authorization", "Bearer ")}, 401},
		{"basic", "env:AM_SECRET", nil, []func(*http.Request){header("Authorization", "Basic one")}, 401},
		{"a wrong one", "env:AM_SECRET", nil, []func(*http.Request){shows("two")}, 403},
		{"a part of it", "env:AM_SECRET", nil, []func(*http.Request){shows("on")}, 403},
		{"the server's own does not help", "env:AM_SECRET", func(*http.Request) error { return nil }, nil, 401},
		{"an old one while they change", "file:" + file, nil, []func(*http.Request){shows("old-one")}, 200},
		{"a new one while they change", "file:" + file, nil, []func(*http.Request){shows("new-one")}, 200},
		{"no empty line", "file:" + file, nil, []func(*http.Request){shows("\n")}, 401},
		{"not to be resolved", "env:AM_SECRET_NOT_SET", nil, []func(*http.Request){shows("one")}, 503},
		{"none, the server lets in", "", func(*http.Request) error { return nil }, nil, 200},
		{"none, the server knows nobody", "", func(*http.Request) error { return fmt.Errorf("who: %w", auth.ErrUnauthenticated) }, nil, 401},
		{"none, the server refuses", "", func(*http.Request) error { return fmt.Errorf("viewers may not") }, nil, 403},
		{"none at all", "", nil, []func(*http.Request){shows("one")}, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := store.NewMemory(store.MemoryOptions{})
				defer m.Close()
				r := start(t, m, "r1", func(o *Options) { o.Authorize = test.authorize })
				r.put(append(chat(nil), detector(hook("am", &jv1.WebhookDetector{Format: jv1.WebhookFormat_WEBHOOK_FORMAT_ALERTMANAGER, Secret: test.secret})))...)
				resp, text := r.post(am, firing(time.Now(), "a"), test.options...)
				if resp.StatusCode != test.status {
					t.Errorf("%d %s, want %d", resp.StatusCode, text, test.status)
				}
				if challenge := resp.Header.Get("WWW-Authenticate"); (challenge != "") != (test.status == 401) {
					t.Errorf("challenge %q", challenge)
				}
				if strings.Contains(text, "one") && test.status != 200 || strings.Contains(text, "AM_SECRET") && test.status == 503 {
					t.Errorf("the answer tells too much: %s", text)
				}
				time.Sleep(time.Second)
				if stored := list[*recordv1.Report](r, store.Reports); (len(stored) > 0) != (test.status == 200) {
					t.Errorf("stored %v", stored)
				}
			})
		})
	}
}
