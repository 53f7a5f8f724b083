package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jurymast/jurymast/client"
)

func (a *App) contextCommand() *cobra.Command {
	cmd := a.group(&cobra.Command{
		Use:     "context",
		Aliases: []string{"contexts"},
		Short:   "Store where the servers are and how to speak to them",
		Long: "Store where the servers are and how to speak to them, in jurymast/config.yaml below $XDG_CONFIG_HOME or ~/.config,\n" +
			"or in the file that $JURYMAST_CONFIG names. A flag goes before the environment, and that before the context in use.",
		Example: examples(
			"jurymast context set prod --server dr-1:7400,dr-2:7400 --ca ca.pem --token file:/home/me/.dr-token", "store one",
			"jurymast context use prod", "use it from now on",
			"jurymast --context prod status", "use it once",
		),
		GroupID: GroupTools,
	})
	cmd.AddCommand(a.contextSetCommand(), a.contextListCommand(), a.contextUseCommand(), a.contextShowCommand(), a.contextDeleteCommand())
	return cmd
}

func (a *App) contextSetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME [--server ADDRESS] [--token REFERENCE] [--ca FILE] [--cert FILE --key FILE] [--insecure]",
		Short: "Store a context, or change what is given of a stored one; the first becomes the one in use",
		Long: "Store a context, or change what is given of a stored one. The first becomes the one in use. A token is stored as a\n" +
			"reference, never itself.",
		Example: examples("jurymast context set prod --server dr-1:7400,dr-2:7400 --ca ca.pem --token env:DR_TOKEN", "two servers with TLS and a token"),
		Args:    exactArgs("NAME"), ValidArgsFunction: a.completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			given := namedContext{
				Name: args[0], Servers: a.flags.servers, Token: a.flags.token, CA: a.flags.ca, Cert: a.flags.cert, Key: a.flags.key,
				Insecure: a.flags.insecure,
			}
			if err := given.check(); err != nil {
				return Exit(ExitUsage, err)
			}
			next := given
			if old := file.find(args[0]); old != nil {
				next = merged(args[0], []namedContext{given, *old})
				if cmd.Flags().Changed("insecure") {
					next.Insecure = given.Insecure
				}
				*old = next
			} else {
				file.Contexts = append(file.Contexts, next)
			}
			// What the SDK would refuse is refused before it is stored.
			c, err := client.New(client.Options{Addresses: next.Servers})
			if err != nil {
				return err
			}
			_ = c.Close()
			if file.Current == "" {
				file.Current = args[0]
			}
			if err := a.saveContexts(file); err != nil {
				return err
			}
			return a.didContext(args[0], "stored")
		},
	}
}

func (a *App) didContext(name, verb string) error {
	if a.out == outputID {
		return a.printf("%s\n", name)
	}
	return a.printf("context/%s %s\n", name, verb)
}

func (a *App) contextListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the contexts", Args: exactArgs(),
		Example: examples("jurymast context list", "all, with the one in use marked"),
		RunE: func(*cobra.Command, []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			t := &table{columns: []column{{title: "CONTEXT"}, {title: "IN_USE"}, {title: "SERVERS", elastic: true}, {title: "TOKEN"}, {title: "TLS"}}}
			var names []named
			for _, c := range file.Contexts {
				used, tls := "", "no"
				if c.Name == file.Current {
					used = "*"
				}
				if c.CA != "" || c.Cert != "" {
					tls = "yes"
				}
				servers := strings.Join(c.Servers, ",")
				if servers == "" {
					servers = client.DefaultAddress
				}
				t.add(c.Name, used, servers, dash(c.Token), tls)
				names = append(names, named{"context", c.Name})
			}
			return a.show(result{
				names: names, json: func() ([]byte, error) { return indented(file.Contexts) },
				text: func() error {
					return a.showTable(t, "There are no contexts; commands speak to "+client.DefaultAddress+".")
				},
			})
		},
	}
}

func indented(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return append(b, '\n'), nil
}

func (a *App) contextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Use a context from now on", Args: exactArgs("NAME"), ValidArgsFunction: a.completeContexts,
		Example: examples("jurymast context use prod", "for all commands that follow"),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			if file.find(args[0]) == nil {
				return noContext(args[0], file)
			}
			file.Current = args[0]
			if err := a.saveContexts(file); err != nil {
				return err
			}
			return a.didContext(args[0], "is in use")
		},
	}
}

func noContext(name string, file *contextFile) error {
	known := make([]string, 0, len(file.Contexts))
	for _, c := range file.Contexts {
		known = append(known, c.Name)
	}
	text := fmt.Sprintf("there is no context %q", name)
	if len(known) > 0 {
		text += ", there are: " + strings.Join(known, ", ")
	}
	return Exit(ExitNotFound, errors.New(text))
}

func (a *App) contextShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the settings that commands use, flags and environment included", Args: exactArgs(),
		Example: examples("jurymast context show", "with what the environment says"),
		RunE: func(*cobra.Command, []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			if s.Token != "" && !strings.HasPrefix(s.Token, "env:") && !strings.HasPrefix(s.Token, "file:") {
				s.Token = "(from JURYMAST_TOKEN)"
			}
			if len(s.Servers) == 0 {
				s.Servers = []string{client.DefaultAddress}
			}
			return a.show(result{
				names: []named{{"context", s.Name}}, json: func() ([]byte, error) { return indented(s) },
				text: func() error {
					return a.printFields(
						field{"Context", dash(s.Name)}, field{"Servers", strings.Join(s.Servers, ", ")}, field{"Token", dash(s.Token)},
						field{"Trusts", dash(s.CA)}, field{"Certificate", dash(s.Cert)}, field{"Key", dash(s.Key)},
					)
				},
			})
		},
	}
}

func (a *App) contextDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Forget a context", Args: exactArgs("NAME"), ValidArgsFunction: a.completeContexts,
		Example: examples("jurymast context delete old", "it is not asked for again"),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			if file.find(args[0]) == nil {
				return noContext(args[0], file)
			}
			file.Contexts = slices.DeleteFunc(file.Contexts, func(c namedContext) bool { return c.Name == args[0] })
			if file.Current == args[0] {
				file.Current = ""
			}
			if err := a.saveContexts(file); err != nil {
				return err
			}
			return a.didContext(args[0], "forgotten")
		},
	}
}
