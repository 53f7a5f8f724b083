package sink_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jurymast/jurymast/internal/campaign/sink"
)

func post(t *testing.T, s *sink.Sink, key string, within time.Duration) (status int, body string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	client := &http.Client{
		// On a connection that was used before, the transport repeats what has a key by itself.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(b), err
}

func TestManners(t *testing.T) {
	s, err := sink.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, test := range []struct {
		manner sink.Manner
		status int
		fails  bool
	}{
		{sink.Good, 200, false},
		{sink.Busy, 429, false},
		{sink.Broken, 500, false},
		{sink.Hanging, 0, true},
		{sink.Dripping, 200, true},
		{sink.Truncated, 200, true},
		{sink.Garbage, 200, false},
		{sink.Reset, 0, true},
		{sink.Flood, 200, false}, // the reader stops by itself
		{sink.Astray, 307, false},
	} {
		s.Behave(test.manner)
		status, body, err := post(t, s, "key", 400*time.Millisecond)
		if status != test.status || (err != nil) != test.fails {
			t.Errorf("manner %d: status %d, %d bytes, %v", test.manner, status, len(body), err)
		}
	}
	s.Behave(sink.Good)
	if _, _, err := post(t, s, "key", 10*time.Second); err != nil {
		t.Error(err)
	}
	if shown, effects := s.Shown()["key"], s.Effects()["key"]; shown != 11 || effects != 1 {
		t.Errorf("the key was shown %d times and took effect %d times, want 11 and 1", shown, effects)
	}
}
