package notify

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func TestJournalIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "emergency.json")
	if j, err := readJournal(path); err != nil || len(j.channels) != 0 || j.alarm.Phase != phaseQuiet {
		t.Fatalf("without a file: %+v, %v", j, err)
	}
	want := journal{
		channels: []*jv1.Channel{
			{Name: "log", Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}},
			{Name: "team", Kind: &jv1.Channel_Webhook{Webhook: &jv1.WebhookChannel{Url: "env:URL", Secret: "env:SECRET"}}, Revision: 7},
		},
		alarm: alarm{Phase: phaseDown, Since: time.Unix(1000, 5), At: time.Unix(1060, 0), Told: map[string]time.Time{"team": time.Unix(1061, 0)}},
	}
	for range 2 {
		if err := want.write(path); err != nil {
			t.Fatal(err)
		}
		got, err := readJournal(path)
		if err != nil || !sameChannels(got.channels, want.channels) || !sameAlarm(got.alarm, want.alarm) {
			t.Fatalf("read %+v, %v", got, err)
		}
		want.alarm = alarm{}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: others can read it", info.Mode(), err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("files left behind: %v, %v", files, err)
	}
}

func TestJournalThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"empty": "", "cut off": `{"version":1,"channels":[`, "of another version": `{"version":2}`,
		"with a strange channel": `{"version":1,"channels":["x"]}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := readJournal(path); err == nil || len(j.channels) != 0 {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
	}
	if err := (journal{}).write(filepath.Join(dir, "no", "such", "folder")); err == nil {
		t.Error("written to a folder that isn't there")
	}
}
