package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// output is how data is printed.
type output string

const (
	outputTable output = "table"
	outputWide  output = "wide"
	outputJSON  output = "json"
	outputYAML  output = "yaml"
	outputName  output = "name"
	outputID    output = "id" // of --quiet
)

func parseOutput(s string, quiet bool) (output, error) {
	if quiet {
		return outputID, nil
	}
	switch o := output(s); o {
	case outputTable, outputWide, outputJSON, outputYAML, outputName:
		return o, nil
	default:
		return "", usage("--output is %q, want table, wide, json, yaml or name", s)
	}
}

// named is one thing in a result.
type named struct {
	kind string
	name string
}

// result is what a command has to show, in every form that the user may ask for.
type result struct {
	// message is the API's answer, for JSON, and for YAML unless that is given.
	message proto.Message
	// json is what to print as JSON instead, where the answer is made of several. Nil: message.
	json func() ([]byte, error)
	// yaml is what to print as YAML instead, e.g. the form an operator writes. Nil: message.
	yaml func() ([]byte, error)
	// names are the ids.
	names []named
	// text prints the form for people.
	text func() error
}

// show prints a result in the form that was asked for.
func (a *App) show(r result) error {
	switch a.out {
	case outputJSON:
		render := r.json
		if render == nil {
			render = func() ([]byte, error) { return marshalJSON(r.message) }
		}
		b, err := render()
		if err != nil {
			return err
		}
		return a.print(b)
	case outputYAML:
		render := r.yaml
		switch {
		case render == nil && r.message == nil:
			render = func() ([]byte, error) { return yamlOfJSON(r.json) }
		case render == nil:
			render = func() ([]byte, error) { return marshalYAML(r.message) }
		}
		b, err := render()
		if err != nil {
			return err
		}
		return a.print(b)
	case outputName, outputID:
		var b strings.Builder
		for _, n := range r.names {
			if a.out == outputName && n.kind != "" {
				b.WriteString(n.kind + "/")
			}
			b.WriteString(n.name + "\n")
		}
		return a.print([]byte(b.String()))
	default:
		return r.text()
	}
}

func (a *App) print(b []byte) error {
	if _, err := a.Stdout.Write(b); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}

func (a *App) printf(format string, args ...any) error {
	return a.print(fmt.Appendf(nil, format, args...))
}

// marshalJSON writes a message as the API's JSON over HTTP does, indented, and always the same: protojson itself varies
// its white space from build to build.
func marshalJSON(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// marshalYAML writes the same as YAML, without what is empty.
func marshalYAML(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return yamlOfJSON(func() ([]byte, error) { return raw, nil })
}

// yamlOfJSON turns JSON into YAML in block style.
func yamlOfJSON(render func() ([]byte, error)) ([]byte, error) {
	raw, err := render()
	if err != nil {
		return nil, err
	}
	// JSON is YAML; going through the nodes keeps the order of the fields.
	var node yaml.Node
	if err := yaml.Unmarshal(raw, &node); err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	blockStyle(&node)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return b.Bytes(), nil
}

// part is one field of a composed JSON object: a message, or a list of them.
type part struct {
	name string
	one  proto.Message
	many []proto.Message
}

// messages turns a list of one kind of message into one of any.
func messages[M proto.Message](in []M) []proto.Message {
	out := make([]proto.Message, 0, len(in))
	for _, m := range in {
		out = append(out, m)
	}
	return out
}

// compose writes a JSON object of several messages.
func compose(parts ...part) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, p := range parts {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", p.name)
		if p.one != nil {
			raw, err := marshalJSON(p.one)
			if err != nil {
				return nil, err
			}
			b.Write(raw)
			continue
		}
		b.WriteByte('[')
		for j, m := range p.many {
			raw, err := marshalJSON(m)
			if err != nil {
				return nil, err
			}
			if j > 0 {
				b.WriteByte(',')
			}
			b.Write(raw)
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func blockStyle(n *yaml.Node) {
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		n.Style = 0
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
	}
	if n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		blockStyle(c)
	}
}
