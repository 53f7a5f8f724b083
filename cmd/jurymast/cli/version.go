package cli

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) versionCommand() *cobra.Command {
	var only bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program and of the server",
		Example: examples(
			"jurymast version", "both",
			"jurymast version --client", "without asking a server",
		),
		GroupID: GroupTools,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Client: a.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			var info *jv1.Info
			var err error
			if !only {
				if info, err = a.serverInfo(cmd); err == nil {
					v.Server, v.Replica = info.GetVersion(), info.GetReplica()
				}
			}
			if showErr := a.show(result{
				names: []named{{"", v.Client}}, json: func() ([]byte, error) { return indented(v) },
				text: func() error { return a.printFields(v.fields(only)...) },
			}); showErr != nil {
				return showErr
			}
			a.warnOfSkew(info)
			return err
		},
	}
	cmd.Flags().BoolVar(&only, "client", false, "only the version of this program; ask no server")
	return cmd
}

func (a *App) serverInfo(cmd *cobra.Command) (*jv1.Info, error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	return api.GetInfo(cmd.Context(), &jv1.GetInfoRequest{})
}

type versions struct {
	Client   string `json:"client"`
	Server   string `json:"server,omitempty"`
	Replica  string `json:"replica,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (v versions) fields(only bool) []field {
	out := []field{{"Client", fmt.Sprintf("%s (%s, %s)", v.Client, v.Go, v.Platform)}}
	switch {
	case only:
	case v.Server == "":
		out = append(out, field{"Server", "(no answer)"})
	default:
		out = append(out, field{"Server", fmt.Sprintf("%s (replica %s)", v.Server, dash(v.Replica))})
	}
	return out
}

// warnOfSkew says that client and server are not of one minor version.
func (a *App) warnOfSkew(info *jv1.Info) {
	if info == nil || info.GetVersion() == "" || minor(info.GetVersion()) == minor(a.Version) {
		return
	}
	a.say("warning: this program is %s and the server is %s; what only one of them knows does not work", a.Version, info.GetVersion())
}

// minor is the part of a version within which nothing is added or taken away: v1.4 of v1.4.2. What is no such version
// is left as it is.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 || !strings.HasPrefix(version, "v") {
		return version
	}
	return parts[0] + "." + parts[1]
}
