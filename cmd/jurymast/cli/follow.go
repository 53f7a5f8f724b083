package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/jurymast/jurymast/client"
)

// followFlags are those of `jurymast follow`.
type followFlags struct {
	file       string
	format     string
	template   string
	mode       uint32
	command    []string
	cmdTimeout time.Duration
	cacheDir   string
	subscriber string
	noReport   bool
	once       bool
	timeout    time.Duration
}

func (a *App) followCommand() *cobra.Command {
	var f followFlags
	cmd := &cobra.Command{
		Use:   "follow [SERVICE...] [--file FILE] [-- COMMAND ARGUMENT...]",
		Short: "Keep a file up to date with the route, and run a command on change",
		Long: "Keep a file up to date with the route, and run a command on change, for applications that don't use the SDK. The file\n" +
			"is replaced as a whole, never half written. The last states are kept on disk: with every server dead, and after a\n" +
			"restart, the file still stands. An epoch is reported as in force once the file is written and the command ended well;\n" +
			"a command that fails is run again.\n\n" +
			"Formats: json; env, lines of NAME=value for a shell or a systemd EnvironmentFile; template, a Go text/template from\n" +
			"--template over the same facts as json. Without --file the states go to standard output, one JSON object in a line.\n\n" +
			"The command runs once for each changed service and finds in its environment JURYMAST_SERVICE, JURYMAST_PROVIDER,\n" +
			"JURYMAST_PREVIOUS_PROVIDER, JURYMAST_QUEUEING, JURYMAST_PHASE, JURYMAST_EPOCH, JURYMAST_SINCE, JURYMAST_REASON,\n" +
			"JURYMAST_RUN, JURYMAST_LIVE and JURYMAST_DELETED.",
		Example: examples(
			"jurymast follow chat --file /run/chat.env --format env", "for a process that reads its environment from a file",
			"jurymast follow chat --file /etc/nginx/upstream.conf --format template --template upstream.tmpl -- nginx -s reload", "for a proxy",
			"jurymast follow -- ./tell-the-team", "run a command on every change of any service",
			"jurymast follow chat --once --file chat.json", "write the file once and end",
		),
		GroupID: GroupTools,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			return a.completeAt(len(args), func(ctx context.Context, api *api, _ []string) ([]string, error) { return serviceNames(ctx, api) })(cmd, args, part)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			services := args
			if at := cmd.ArgsLenAtDash(); at >= 0 {
				services, f.command = args[:at], args[at:]
			}
			return a.follow(cmd.Context(), services, f)
		},
	}
	cmd.Flags().StringVar(&f.file, "file", "", "`file` to keep up to date")
	cmd.Flags().StringVar(&f.format, "format", "json", "`format` of the file: json, env or template")
	cmd.Flags().StringVar(&f.template, "template", "", "`file` with the template, for --format template")
	cmd.Flags().Uint32Var(&f.mode, "file-mode", 0o644, "`permissions` of the file; give octal numbers with a leading 0")
	cmd.Flags().Lookup("file-mode").DefValue = "0644" // not 420, which nobody reads
	cmd.Flags().DurationVar(&f.cmdTimeout, "command-timeout", time.Minute, "longest run of the command")
	cmd.Flags().StringVar(&f.cacheDir, "cache-dir", "", "`folder` for the last states; by default one below $XDG_CACHE_HOME or ~/.cache, by name of subscriber")
	cmd.Flags().StringVar(&f.subscriber, "subscriber", "", "`name` under which epochs in force are reported, unique among those who follow; by default made of host, services and file")
	cmd.Flags().BoolVar(&f.noReport, "no-report", false, "don't report what is in force")
	cmd.Flags().BoolVar(&f.once, "once", false, "end after the first states; with no server, after those of the cache")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "with --once: longest wait for a server")
	return cmd
}

// follower carries `jurymast follow` out.
type follower struct {
	*App
	followFlags
	ctx      context.Context //nolint:containedctx // OnChange has none, and a command must end with the program
	template *template.Template

	mu     sync.Mutex
	states map[string]client.State
}

func (a *App) follow(ctx context.Context, services []string, f followFlags) error {
	w := &follower{App: a, followFlags: f, ctx: ctx, states: map[string]client.State{}}
	if err := w.check(); err != nil {
		return err
	}
	o, err := a.clientOptions()
	if err != nil {
		return err
	}
	o.Services, o.NoReport, o.OnChange = services, f.noReport, w.changed
	o.Logger = hclog.New(&hclog.LoggerOptions{Name: "follow", Level: hclog.Info, Output: a.Stderr})
	if o.Subscriber = f.subscriber; o.Subscriber == "" {
		o.Subscriber = defaultFollower(services, f)
	}
	if o.CacheDir = f.cacheDir; o.CacheDir == "" {
		o.CacheDir = a.defaultCache(o.Subscriber)
	}
	c, err := client.New(o)
	if err != nil {
		return err
	}
	// What the cache knows belongs into the file before anybody is asked: the file may be gone with the last boot.
	w.states = c.States()
	if f.once {
		return w.onceOnly(ctx, c, services)
	}
	err = c.Run(ctx)
	if closeErr := c.Close(); err == nil {
		err = closeErr
	}
	if interrupted(ctx) {
		return nil
	}
	return err
}

// check reads the flags that can be wrong.
func (w *follower) check() error {
	switch w.format {
	case "json", "env":
		if w.followFlags.template != "" {
			return usage("--template wants --format template")
		}
	case "template":
		if w.followFlags.template == "" || w.file == "" {
			return usage("--format template wants --template and --file")
		}
		text, err := os.ReadFile(w.followFlags.template)
		if err != nil {
			return Exit(ExitUsage, fmt.Errorf("reading the template: %w", err))
		}
		w.template, err = template.New(filepath.Base(w.followFlags.template)).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return Exit(ExitUsage, fmt.Errorf("reading the template: %w", err))
		}
	default:
		return usage("--format is %q, want json, env or template", w.format)
	}
	if w.mode > 0o777 {
		return usage("--file-mode is %o, want permissions like 0644", w.mode)
	}
	return nil
}

// defaultFollower names a follower so that two of them on one host differ, and one keeps its name when it restarts.
func defaultFollower(services []string, f followFlags) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	what := strings.Join(services, "+")
	if what == "" {
		what = "all"
	}
	name := "follow:" + host + ":" + what
	switch {
	case f.file != "":
		path, err := filepath.Abs(f.file)
		if err != nil {
			path = f.file
		}
		name += ":" + path
	case len(f.command) > 0:
		name += ":" + filepath.Base(f.command[0])
	}
	return shorten(oneLine(name), 100)
}

// defaultCache is a folder for one follower; empty, which is memory only, where there is no place for one.
func (a *App) defaultCache(subscriber string) string {
	base := a.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home := a.Getenv("HOME")
		if home == "" {
			return ""
		}
		base = filepath.Join(home, ".cache")
	}
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, subscriber)
	return filepath.Join(base, "jurymast", safe)
}

// onceOnly waits for a server, or else takes what the cache has.
func (w *follower) onceOnly(ctx context.Context, c *client.Client, services []string) error {
	if err := c.Start(ctx); err != nil {
		return err
	}
	defer c.Close()
	bounded, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	waitErr := c.WaitLive(bounded)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	known := c.States()
	for _, s := range services {
		if _, ok := known[s]; !ok && waitErr == nil {
			return Exit(ExitNotFound, fmt.Errorf("there is no service %q", s))
		}
	}
	if waitErr != nil && len(known) == 0 {
		return Exit(ExitUnavailable, fmt.Errorf("no server answers and nothing is cached: %w", waitErr))
	}
	for _, s := range services {
		if _, ok := known[s]; !ok {
			return Exit(ExitUnavailable, fmt.Errorf("no server answers and %s is not cached: %w", s, waitErr))
		}
	}
	if waitErr != nil {
		w.say("warning: no server answers; this is from the cache")
	}
	w.mu.Lock()
	w.states = known
	w.mu.Unlock()
	return w.write(w.snapshot(true))
}

// changed is told of every change. An error lets it be told again.
func (w *follower) changed(service string, s client.State, ok bool) error {
	if w.once {
		return nil
	}
	w.mu.Lock()
	if ok {
		w.states[service] = s
	} else {
		delete(w.states, service)
	}
	w.mu.Unlock()
	if w.file != "" {
		if err := w.write(w.snapshot(false)); err != nil {
			return err
		}
	}
	if len(w.command) > 0 {
		return w.run(service, s, ok)
	}
	if w.file == "" {
		return w.line(service, s, ok)
	}
	return nil
}

// snapshot is what is known of all services. Liveness is left out of a file that is kept: nobody would rewrite it when a
// server dies.
func (w *follower) snapshot(live bool) []facts {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]facts, 0, len(w.states))
	for _, service := range sortedKeys(w.states) {
		f := factsOf(service, w.states[service], true)
		if !live {
			f.Live = nil
		}
		out = append(out, f)
	}
	return out
}

// write replaces the file, or prints what it would hold where there is none.
func (w *follower) write(all []facts) error {
	data, err := render(w.format, w.template, all)
	if err != nil {
		return err
	}
	if w.file == "" {
		return w.print(data)
	}
	if err := replaceFile(w.file, data, os.FileMode(w.mode)); err != nil {
		return fmt.Errorf("writing %s: %w", w.file, err)
	}
	return nil
}

// run runs the command for one change, with its output on ours.
func (w *follower) run(service string, s client.State, ok bool) error {
	ctx, cancel := context.WithTimeout(w.ctx, w.cmdTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.command[0], w.command[1:]...)
	cmd.Env = append(os.Environ(), factsOf(service, s, ok).environment("JURYMAST_", true)...)
	cmd.Stdout, cmd.Stderr = w.Stdout, w.Stderr
	cmd.WaitDelay = time.Second
	// With Ctrl-C the command gets the signal, too; being killed on top of that would leave half of its work.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err := cmd.Run()
	switch {
	case w.ctx.Err() != nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s was still running after %s", w.command[0], w.cmdTimeout)
	case err != nil:
		return fmt.Errorf("%s: %w", w.command[0], err)
	}
	return nil
}

func (w *follower) line(service string, s client.State, ok bool) error {
	if w.format == "env" {
		lines := factsOf(service, s, ok).environment("JURYMAST_", true)
		_, err := io.WriteString(w.Stdout, strings.Join(slices.Sorted(slices.Values(lines)), " ")+"\n")
		return err
	}
	b, err := factsOf(service, s, ok).line()
	if err != nil {
		return err
	}
	return w.print(b)
}
