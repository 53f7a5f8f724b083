package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Groups of commands in the help.
const (
	// GroupLook is for commands that only show.
	GroupLook = "look"
	// GroupSteer is for those that change what is true now.
	GroupSteer = "steer"
	// GroupDeclare is for those about what is declared in files.
	GroupDeclare = "declare"
	// GroupTools is for all others.
	GroupTools = "tools"
)

func groups() []*cobra.Group {
	return []*cobra.Group{
		{ID: GroupLook, Title: "See what is true:"},
		{ID: GroupSteer, Title: "Steer by hand:"},
		{ID: GroupDeclare, Title: "Declare:"},
		{ID: GroupTools, Title: "Tools:"},
	}
}

// docsCommand writes the reference of the command line, which is committed.
func (a *App) docsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs DIRECTORY", Short: "Write the reference of the command line", Hidden: true,
		Args: exactArgs("DIRECTORY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			pages := reference(cmd.Root())
			if err := os.MkdirAll(args[0], 0o750); err != nil {
				return fmt.Errorf("writing the reference: %w", err)
			}
			for _, name := range sortedKeys(pages) {
				if err := replaceFile(filepath.Join(args[0], name), []byte(pages[name]), 0o644); err != nil {
					return fmt.Errorf("writing the reference: %w", err)
				}
			}
			return a.printf("%s written\n", count(len(pages), "page", "pages"))
		},
	}
}

// reference returns the pages of the reference by file name: one for each command, and an overview.
func reference(root *cobra.Command) map[string]string {
	pages := map[string]string{}
	var index strings.Builder
	index.WriteString("# The command line\n\nMade by `jurymast docs docs/cli`; don't edit it here.\n\n" + root.Long + "\n")
	for _, g := range groups() {
		fmt.Fprintf(&index, "\n## %s\n\n| command | |\n|---|---|\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID != g.ID || c.Hidden || c.Name() == "help" {
				continue
			}
			fmt.Fprintf(&index, "| [jurymast %s](%s.md) | %s |\n", c.Name(), c.Name(), c.Short)
			var page strings.Builder
			commandPage(&page, c, 1)
			pages[c.Name()+".md"] = page.String()
		}
	}
	index.WriteString("\n## Flags of every command\n\n```\n" + root.PersistentFlags().FlagUsages() + "```\n")
	index.WriteString("\n## Exit status\n\n| code | meaning |\n|---|---|\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&index, "| %d | %s |\n", c.Code, c.Text)
	}
	index.WriteString("\n## Environment\n\nA flag goes before the environment, and that before the context in use.\n\n| variable | meaning |\n|---|---|\n")
	for _, v := range environment() {
		fmt.Fprintf(&index, "| `%s` | %s |\n", v.name, v.text)
	}
	pages["README.md"] = index.String()
	return pages
}

// environment explains the variables that the program reads.
func environment() []field {
	return []field{
		{"JURYMAST_SERVER", "addresses of the servers, separated by commas"},
		{"JURYMAST_TOKEN", "the bearer token, or a reference to it: env:NAME or file:/path"},
		{"JURYMAST_CA", "file with the certificates to trust"},
		{"JURYMAST_CERT, JURYMAST_KEY", "files with our certificate and its key"},
		{"JURYMAST_INSECURE", "true lets the token go out to another machine without TLS"},
		{"JURYMAST_CONTEXT", "context to use"},
		{"JURYMAST_CONFIG", "file with the contexts; by default jurymast/config.yaml below XDG_CONFIG_HOME or ~/.config"},
		{"NO_COLOR", "not empty: no colours, unless --color says otherwise"},
	}
}

func commandPage(b *strings.Builder, c *cobra.Command, level int) {
	fmt.Fprintf(b, "%s %s\n\n%s.\n\n", strings.Repeat("#", level), c.CommandPath(), strings.TrimSuffix(c.Short, "."))
	if c.Example != "" {
		b.WriteString("```sh\n" + unindent(c.Example) + "\n```\n\n")
	}
	if c.Long != "" && c.Long != c.Short {
		b.WriteString(c.Long + "\n\n")
	}
	if c.Runnable() && !c.HasSubCommands() {
		b.WriteString("```\n" + c.UseLine() + "\n```\n\n")
	}
	own := c.LocalNonPersistentFlags()
	own.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			f.Hidden = true
		}
	})
	if own.HasAvailableFlags() {
		b.WriteString("```\n" + own.FlagUsages() + "```\n\n")
	}
	if level == 1 {
		defer b.WriteString("Flags that every command has, the exit status and the environment: [the command line](README.md).\n")
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			commandPage(b, sub, level+1)
		}
	}
}

func unindent(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n")
}
