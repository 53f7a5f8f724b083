package cli

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// globalFlags are those that every command has.
type globalFlags struct {
	context  string
	servers  []string
	token    string
	ca       string
	cert     string
	key      string
	insecure bool

	output         string
	quiet          bool
	color          string
	times          string
	requestTimeout time.Duration
}

func (f *globalFlags) register(to *pflag.FlagSet) {
	to.StringVar(&f.context, "context", "", "context to use, from the configuration file")
	to.StringSliceVar(&f.servers, "server", nil, "`address` of a server, host:port or unix:/path; may be repeated, the first that answers counts")
	to.StringVar(&f.token, "token", "", "`reference` of the bearer token: env:NAME or file:/path")
	to.StringVar(&f.ca, "ca", "", "`file` with the certificates to trust; turns TLS on")
	to.StringVar(&f.cert, "cert", "", "`file` with our certificate; turns TLS on")
	to.StringVar(&f.key, "key", "", "`file` with the key of our certificate")
	to.BoolVar(&f.insecure, "insecure", false, "let the token go out to another machine without TLS")
	to.StringVarP(&f.output, "output", "o", "table", "`format` of the output: table, wide, json, yaml or name")
	to.BoolVarP(&f.quiet, "quiet", "q", false, "print only ids, one in a line")
	to.StringVar(&f.color, "color", "auto", "`when` to colour: auto, always or never")
	to.StringVar(&f.times, "time", "relative", "`form` of times: relative, utc or local")
	to.DurationVar(&f.requestTimeout, "request-timeout", defaultRequestTimeout, "longest wait for one answer of a server")
}

// annotationMandatory marks a flag that must be given and not be blank.
const annotationMandatory = "jurymast_mandatory"

func mandatory(f *pflag.Flag) bool { return f.Annotations[annotationMandatory] != nil }

// reasonFlag adds the mandatory --reason of a change.
func reasonFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "reason", "", "why (mandatory); stored with the change, at most 500 characters")
	cmd.Flags().Lookup("reason").Annotations = map[string][]string{annotationMandatory: {"true"}}
}

// minArgs wants at least as many arguments as there are names.
func minArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usage("%s is missing\nusage: %s", names[len(args)], cmd.UseLine())
		}
		return nil
	}
}

// exactArgs wants as many arguments as there are names, and names what is missing.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usage("%s is missing\nusage: %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return usage("%q is too much\nusage: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// atMostArgs wants no more arguments than there are names.
func atMostArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usage("%q is too much\nusage: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}
