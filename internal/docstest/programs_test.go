package docstest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is what a built program says of itself: its flags by command, the root's under the program's name.
type program struct {
	name  string
	help  string // of the root
	flags map[string][]string
	alias map[string]string // of commands, full path to full path
}

var built = struct {
	sync.Once
	dir      string
	programs map[string]*program
	err      error
}{}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// programs builds both programs once and asks them for their commands and flags.
func programs(t *testing.T) map[string]*program {
	t.Helper()
	root := repository(t)
	built.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "docstest")
		if built.err != nil {
			return
		}
		if _, built.err = run(root, nil, "go", "build", "-o", built.dir+"/", "./cmd/..."); built.err != nil {
			return
		}
		entries, err := os.ReadDir(built.dir)
		if built.err = err; err != nil {
			return
		}
		built.programs = map[string]*program{}
		for _, entry := range entries {
			p := &program{name: entry.Name(), flags: map[string][]string{}, alias: map[string]string{}}
			if built.err = p.ask(filepath.Join(built.dir, p.name), nil); built.err != nil {
				return
			}
			built.programs[p.name] = p
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.programs
}

// run runs a program. env replaces the environment unless it is nil.
func run(dir string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// environment is the one that defaults in a help text are shown for.
var environment = []string{"HOME=/home/you"}

// ask reads the help of a command, and of every command below it.
func (p *program) ask(binary string, path []string) error {
	help, err := run("", environment, binary, append(slices.Clone(path), "--help")...)
	if err != nil {
		return err
	}
	if len(path) > 3 {
		return fmt.Errorf("commands nested as deep as %q: was its help misread?", path)
	}
	if len(path) == 0 {
		p.help = help
	}
	full := strings.Join(append([]string{p.name}, path...), " ")
	page := readHelp(help)
	p.flags[full] = append(page.flags, "help")
	for _, alias := range page.aliases {
		parent := strings.Join(append([]string{p.name}, path[:max(0, len(path)-1)]...), " ")
		p.alias[parent+" "+alias] = full
	}
	for _, sub := range page.commands {
		if sub == "help" {
			continue
		}
		if err := p.ask(binary, append(slices.Clone(path), sub)); err != nil {
			return err
		}
	}
	return nil
}

// helpPage is what cobra's help says of one command.
type helpPage struct{ commands, flags, aliases []string }

var helpFlag = regexp.MustCompile(`^\s+(?:-(\w), )?--([\w-]+)`)

func readHelp(help string) helpPage {
	var page helpPage
	section := ""
	for line := range strings.SplitSeq(help, "\n") {
		if line != "" && !strings.HasPrefix(line, " ") {
			section = line
			continue
		}
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case strings.HasPrefix(section, "Flags"), strings.HasSuffix(section, "Flags:"):
			if match := helpFlag.FindStringSubmatch(line); match != nil {
				page.flags = append(page.flags, match[2])
				if match[1] != "" {
					page.flags = append(page.flags, match[1])
				}
			}
		case strings.HasPrefix(section, "Aliases:"):
			for _, name := range fields[1:] {
				page.aliases = append(page.aliases, strings.TrimSuffix(name, ","))
			}
		case section == "Usage:", section == "Examples:", !strings.HasSuffix(section, ":"):
		case strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "   "):
			// A group of commands, whatever it is called.
			page.commands = append(page.commands, fields[0])
		}
	}
	return page
}

func TestReadHelp(t *testing.T) {
	page := readHelp(`What it does.

Usage:
  a b [flags]

Aliases:
  b, c

Examples:
  # b
  a b

Steer by hand:
  d           does
  help        Help about any command

Flags:
  -h, --help            help for b
      --data-dir string   where
                        more --words

Global Flags:
  -o, --output string   how

Flags of every command:
  -q, --quiet   less
`)
	if want := []string{"help", "h", "data-dir", "output", "o", "quiet", "q"}; !slices.Equal(page.flags, want) {
		t.Errorf("flags %q, want %q", page.flags, want)
	}
	if want := []string{"d", "help"}; !slices.Equal(page.commands, want) {
		t.Errorf("commands %q, want %q", page.commands, want)
	}
	if want := []string{"c"}; !slices.Equal(page.aliases, want) {
		t.Errorf("aliases %q, want %q", page.aliases, want)
	}
}
