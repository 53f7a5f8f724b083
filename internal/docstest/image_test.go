package docstest

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stage is one stage of a Dockerfile.
type stage struct {
	from, name   string
	instructions []instruction
}

// instruction is one line of it, continuations joined.
type instruction struct{ name, args string }

// readStages splits a Dockerfile, and refuses what it doesn't understand.
func readStages(text string) ([]stage, error) {
	known := []string{
		"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD", "LABEL",
	}
	var stages []stage
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, args, _ := strings.Cut(line, " ")
		i := instruction{name: name, args: strings.TrimSpace(args)}
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("unknown instruction %q", name)
		case i.args == "":
			return nil, fmt.Errorf("%s without arguments", name)
		case name == "FROM":
			s := stage{}
			for _, w := range strings.Fields(i.args) {
				switch {
				case strings.HasPrefix(w, "--"):
				case s.from == "":
					s.from = w
				case w != "AS":
					s.name = w
				}
			}
			stages = append(stages, s)
		case len(stages) == 0 && name != "ARG":
			return nil, fmt.Errorf("%s before the first FROM", name)
		case len(stages) > 0:
			last := &stages[len(stages)-1]
			last.instructions = append(last.instructions, i)
		}
	}
	return stages, nil
}

var (
	fromStage = regexp.MustCompile(`--from=(\S+)`)
	number    = regexp.MustCompile(`^[1-9][0-9]*(:[1-9][0-9]*)?$`)
)

// imageFindings tells what is wrong with an image that shall hold nothing but the listed programs, static, and run them
// as somebody who isn't root.
func imageFindings(stages []stage, binaries []string) []string {
	if len(stages) < 2 {
		return []string{"not a multi-stage build"}
	}
	var findings []string
	last := stages[len(stages)-1]
	if last.from != "scratch" {
		findings = append(findings, "the final stage is from "+last.from+", not from scratch")
	}
	var user, copied, build string
	for _, s := range stages[:len(stages)-1] {
		for _, i := range s.instructions {
			if i.name == "RUN" && strings.Contains(i.args, "go build") {
				build = i.args
			}
		}
	}
	for _, i := range last.instructions {
		switch i.name {
		case "RUN":
			findings = append(findings, "RUN in the final stage, which has no shell")
		case "USER":
			user = i.args
		case "COPY":
			copied += " " + i.args
			from := fromStage.FindStringSubmatch(i.args)
			if len(from) < 2 || !slices.ContainsFunc(stages, func(s stage) bool { return s.name == from[1] }) {
				findings = append(findings, "COPY "+i.args+" is from no stage of this file")
			}
		case "ENTRYPOINT", "CMD", "VOLUME":
			var words []string
			if err := json.Unmarshal([]byte(i.args), &words); err != nil {
				findings = append(findings, i.name+" needs a shell, write it as a list")
			}
			if i.name == "ENTRYPOINT" && len(words) > 0 && !slices.Contains(binaries, path.Base(words[0])) {
				findings = append(findings, "ENTRYPOINT "+words[0]+" is no program of ours")
			}
		}
	}
	if !number.MatchString(user) {
		findings = append(findings, fmt.Sprintf("USER %q is not a number other than 0", user))
	}
	if !strings.Contains(build, "CGO_ENABLED=0") {
		findings = append(findings, "no go build with CGO_ENABLED=0")
	}
	for _, binary := range binaries {
		if !strings.Contains(build, "./cmd/"+binary) || !strings.Contains(copied, "/"+binary+" ") {
			findings = append(findings, binary+" is not both built and copied")
		}
	}
	return findings
}

func TestImage(t *testing.T) {
	root := repository(t)
	text := read(t, filepath.Join(root, "deployments", "Dockerfile"))
	stages, err := readStages(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range imageFindings(stages, []string{"jurymastd", "jurymast"}) {
		t.Error(finding)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, filepath.Join(root, "go.mod")))
	if !strings.Contains(text, "ARG GO_VERSION="+version[1]+"\n") {
		t.Errorf("the image isn't built with Go %s, as go.mod says", version[1])
	}
	for _, i := range stages[len(stages)-1].instructions {
		if i.name == "CMD" {
			checkFlags(t, "the image's CMD", i.args)
		}
	}
}

// checkFlags has every flag in a JSON list, or in a list of words, known to jurymastd.
func checkFlags(t *testing.T, what, list string) {
	t.Helper()
	var args []string
	if err := json.Unmarshal([]byte(list), &args); err != nil {
		args = strings.Fields(list)
	}
	for _, finding := range commandFindings(programs(t), append([]string{"jurymastd"}, args...)) {
		t.Errorf("%s: %s", what, finding)
	}
}

func TestImageFindings(t *testing.T) {
	const sound = "FROM golang:1 AS build\nRUN CGO_ENABLED=0 go build \\\n ./cmd/a\nFROM scratch\nCOPY --from=build /b/a /bin/\nUSER 1:1\nENTRYPOINT [\"/bin/a\"]\n"
	for _, test := range []struct{ name, old, replaced, want string }{
		{"sound", "", "", ""},
		{"one stage", "FROM scratch", "#", "not a multi-stage build"},
		{"a distribution", "FROM scratch", "FROM debian", "the final stage is from debian, not from scratch"},
		{"root", "USER 1:1", "USER 0", `USER "0" is not a number other than 0`},
		{"no user", "USER 1:1", "", `USER "" is not a number other than 0`},
		{"a name", "USER 1:1", "USER app", `USER "app" is not a number other than 0`},
		{"shell form", `["/bin/a"]`, "/bin/a", "ENTRYPOINT needs a shell, write it as a list"},
		{"shell", "USER 1:1", "USER 1\nRUN true", "RUN in the final stage, which has no shell"},
		{"cgo", "CGO_ENABLED=0 ", "", "no go build with CGO_ENABLED=0"},
		{"not copied", "/b/a ", "", "a is not both built and copied"},
		{"unknown stage", "--from=build", "--from=b", "COPY --from=b /b/a /bin/ is from no stage of this file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := sound
			if test.old != "" {
				text = strings.Replace(text, test.old, test.replaced, 1)
			}
			stages, err := readStages(text)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(imageFindings(stages, []string{"a"}), "; ")
			if got != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
	for _, text := range []string{"RUN true\nFROM a", "FROM a\nRUNN true", "FROM a\nUSER"} {
		if _, err := readStages(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
