package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// MIME types of the HTTP side.
const (
	mimeJSON   = "application/json"
	mimeEvents = "text/event-stream"
)

// jsonCodec is JSON as the API speaks it: the proto's field names, default values shown, unknown fields refused.
type jsonCodec struct{ runtime.JSONPb }

func newJSONCodec() *jsonCodec {
	return &jsonCodec{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
	}}
}

// NewDecoder returns a decoder of one whole body. Unlike the gateway's own it refuses what follows the first value.
func (c *jsonCodec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		body, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(body)) == 0 {
			return io.EOF
		}
		return c.Unmarshal(body, v)
	})
}

// Unmarshal reads one value; its errors say where in the body the mistake is.
func (c *jsonCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return c.JSONPb.Unmarshal(data, v)
	}
	if err := c.UnmarshalOptions.Unmarshal(data, m); err != nil {
		// protojson mixes a no-break space into its texts, to keep programs from depending on them.
		text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
		return errors.New("request body: " + strings.TrimPrefix(text, "proto: "))
	}
	return nil
}

// eventCodec writes streams as server-sent events: one event for each message, its id the cursor to resume from. An
// empty id, which a snapshot's messages have, makes the client forget the last one, so that it begins anew.
type eventCodec struct{ *jsonCodec }

// reconnect is how soon a client comes back, in milliseconds; browsers would wait for three seconds.
const reconnect = 1000

// ContentType is that of a single answer.
func (c *eventCodec) ContentType(v any) string {
	if _, ok := v.(proto.Message); ok {
		return mimeJSON
	}
	return mimeEvents
}

// StreamContentType is that of a stream.
func (c *eventCodec) StreamContentType(any) string { return mimeEvents }

// Delimiter ends an event.
func (c *eventCodec) Delimiter() []byte { return []byte("\n") }

// Marshal writes a message of a stream, which the gateway wraps into a map, as an event, and all else as JSON.
func (c *eventCodec) Marshal(v any) ([]byte, error) {
	switch chunk := v.(type) {
	case map[string]any:
		m, ok := chunk["result"].(proto.Message)
		if !ok {
			return nil, fmt.Errorf("a stream's message is a %T", chunk["result"])
		}
		return c.event(m)
	case map[string]proto.Message:
		data, err := c.jsonCodec.Marshal(chunk["error"])
		if err != nil {
			return nil, err
		}
		return append(append([]byte("event: failure\ndata: "), data...), '\n'), nil
	default:
		return c.jsonCodec.Marshal(v)
	}
}

func (c *eventCodec) event(m proto.Message) ([]byte, error) {
	data, err := c.jsonCodec.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if w, ok := m.(interface {
		GetCursor() string
		GetEvent() jv1.WatchEvent
	}); ok {
		fmt.Fprintf(&b, "id: %s\n", w.GetCursor())
		if w.GetEvent() == jv1.WatchEvent_WATCH_EVENT_BOOKMARK {
			fmt.Fprintf(&b, "retry: %d\n", reconnect)
		}
	}
	b.WriteString("data: ")
	b.Write(data) // protojson writes one line
	b.WriteByte('\n')
	return b.Bytes(), nil
}
