package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// TestEveryKindIsKnownAndDocumented keeps the proto, the table of kinds and the document together.
func TestEveryKindIsKnownAndDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "notifications.md"))
	if err != nil {
		t.Fatal(err)
	}
	fields := (&jv1.Channel{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		if kinds()[name] == nil {
			t.Errorf("kind %s has no sender", name)
		}
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/notifications.md says nothing of the kind %s", name)
		}
	}
	if len(kinds()) != fields.Len() {
		t.Errorf("%d senders for %d kinds", len(kinds()), fields.Len())
	}
}

func TestChannelWithoutKindMayBeRepeated(t *testing.T) {
	_, err := NewSender(&jv1.Channel{Name: "x"}, SenderOptions{})
	if f := failureOf(err); f.Cause != CauseChannel || f.Permanent {
		t.Errorf("%+v", f)
	}
}
