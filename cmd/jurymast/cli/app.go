package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
)

// App is one call of the program.
type App struct {
	Process

	flags globalFlags
	out   output
	paint painter
	conn  *grpc.ClientConn
	heard freshness
}

// Extension adds a command that is written in another package.
type Extension func(*App) *cobra.Command

// Main runs one call of the program and returns its exit status. ctx ends it early.
func Main(ctx context.Context, p Process, extra ...Extension) int {
	ctx, stop := withInterrupt(ctx)
	defer stop()
	a := &App{Process: p}
	root := a.root(extra...)
	root.SetArgs(p.Args)
	err := root.ExecuteContext(ctx)
	a.close()
	if err != nil && interrupted(ctx) && codeOf(err) != ExitInterrupted {
		err = Exit(ExitInterrupted, nil)
	}
	if err != nil {
		printFailure(p.Stderr, err)
	}
	return int(codeOf(err))
}

// withInterrupt returns a context that Ctrl-C and a request to terminate end, with errInterrupted as the cause.
func withInterrupt(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			// A second one ends the process at once.
			signal.Stop(signals)
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		<-done
	}
}

func (a *App) close() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}

// root builds the tree of commands.
func (a *App) root(extra ...Extension) *cobra.Command {
	root := a.group(&cobra.Command{
		Use:   "jurymast",
		Short: "Operate Jurymast: see what is true, start and steer runs, switch by hand",
		Long: "Operate Jurymast: see what is true, start and steer runs, switch by hand.\n\n" +
			"Begin with `jurymast status`. Every change wants a --reason, and `-o json` gives the API's JSON.",
		Example: examples(
			"jurymast status", "one screen: what is broken, what was done, what waits for you",
			"jurymast apply -f dr/", "store what the files of a folder declare, all or nothing",
			"jurymast switch chat azure-eu --reason 'openai is down'", "make another provider the active one",
			"jurymast run start fail-back --reason 'openai is back' --wait", "start a runbook and wait for its end",
		),
		SilenceUsage: true, SilenceErrors: true,
	})
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetIn(a.Stdin)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommandGroupID(GroupTools)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
			return unknownCommand(cmd, words[0])
		}
		return usage("%w\nsee `%s --help`", err, cmd.CommandPath())
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) }
	a.flags.register(root.PersistentFlags())
	root.AddGroup(groups()...)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	for _, f := range []Extension{
		(*App).statusCommand, (*App).whyNotCommand, (*App).healthCommand,
		(*App).runCommand, (*App).approveCommand, (*App).rejectCommand,
		(*App).switchCommand, (*App).undoCommand, (*App).queueCommand, (*App).ackCommand,
		(*App).automationCommand, (*App).signalCommand, (*App).triggerCommand,
		(*App).applyCommand, (*App).getCommand, (*App).describeCommand, (*App).deleteCommand,
		(*App).validateCommand, (*App).planCommand, (*App).checkCommand,
		(*App).notificationsCommand, (*App).auditCommand, (*App).followCommand,
		(*App).backupCommand, (*App).restoreCommand,
		(*App).contextCommand, (*App).versionCommand, (*App).completionCommand, (*App).docsCommand,
	} {
		root.AddCommand(f(a))
	}
	for _, f := range extra {
		root.AddCommand(f(a))
	}
	return root
}

// group makes a command that only holds others: called with a word it doesn't know, it says so.
func (a *App) group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.SuggestionsMinimumDistance = 2
	return cmd
}

func unknownCommand(cmd *cobra.Command, word string) error {
	hint := ""
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return usage("%s has no command %q%s", cmd.CommandPath(), word, hint)
}

// prepare checks the flags that every command has.
func (a *App) prepare(cmd *cobra.Command) error {
	var err error
	if a.out, err = parseOutput(a.flags.output, a.flags.quiet); err != nil {
		return err
	}
	if a.paint, err = newPainter(a.flags.color, a.Getenv, a.Stdout); err != nil {
		return err
	}
	if _, err := parseTimes(a.flags.times); err != nil {
		return err
	}
	if a.flags.requestTimeout <= 0 {
		return usage("--request-timeout must be more than zero")
	}
	if f := cmd.Flags().Lookup("reason"); f != nil && mandatory(f) && strings.TrimSpace(f.Value.String()) == "" {
		return usage("say why with --reason: it is stored with the change and shown to everybody")
	}
	return nil
}

// say writes a message for people to standard error.
func (a *App) say(format string, args ...any) {
	fmt.Fprintf(a.Stderr, format+"\n", args...)
}

// examples formats pairs of a command line and what it does.
func examples(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "  # %s\n  %s\n\n", pairs[i+1], pairs[i])
	}
	return strings.TrimRight(b.String(), "\n")
}

// callContext bounds one question to a server.
func (a *App) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.flags.requestTimeout)
}

const defaultRequestTimeout = 10 * time.Second

// Colored tells a command that is written in another package whether to colour.
func (a *App) Colored() bool { return a.paint.on }

// JSON tells a command that is written in another package that JSON was asked for.
func (a *App) JSON() bool { return a.out == outputJSON }
