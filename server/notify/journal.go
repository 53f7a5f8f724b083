package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// journalVersion is the format of the journal's file.
const journalVersion = 1

// journal is what is known without the store: the channels as they were last, and the alarm.
type journal struct {
	channels []*jv1.Channel
	alarm    alarm
	restored alarm
}

// journalFile is a journal as it is written.
type journalFile struct {
	Version  int               `json:"version"`
	Channels []json.RawMessage `json:"channels"`
	Alarm    alarm             `json:"alarm"`
	Restored alarm             `json:"restored,omitzero"`
}

// readJournal reads a journal; one that was never written is empty.
func readJournal(path string) (journal, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return journal{}, nil
	}
	if err != nil {
		return journal{}, fmt.Errorf("read the journal of notifications: %w", err)
	}
	var file journalFile
	if err := json.Unmarshal(b, &file); err != nil {
		return journal{}, fmt.Errorf("read the journal of notifications %s: %w", path, err)
	}
	if file.Version != journalVersion {
		return journal{}, fmt.Errorf("the journal of notifications %s has version %d, want %d", path, file.Version, journalVersion)
	}
	j := journal{alarm: file.Alarm, restored: file.Restored}
	for _, raw := range file.Channels {
		ch := &jv1.Channel{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, ch); err != nil {
			return journal{}, fmt.Errorf("read a channel of the journal of notifications %s: %w", path, err)
		}
		j.channels = append(j.channels, ch)
	}
	return j, nil
}

// write replaces the journal's file as a whole: a crash leaves the old one or the new one. Only the owner may read it,
// because a channel's address may be a secret where it was not given by reference.
func (j journal) write(path string) error {
	file := journalFile{Version: journalVersion, Channels: []json.RawMessage{}, Alarm: j.alarm, Restored: j.restored}
	for _, ch := range j.channels {
		raw, err := protojson.Marshal(ch)
		if err != nil {
			return fmt.Errorf("write the journal of notifications: channel %q: %w", ch.GetName(), err)
		}
		file.Channels = append(file.Channels, raw)
	}
	b, err := json.Marshal(file)
	if err == nil {
		err = replaceFile(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the journal of notifications: %w", err)
	}
	return nil
}

func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func sameChannels(a, b []*jv1.Channel) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !proto.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}
