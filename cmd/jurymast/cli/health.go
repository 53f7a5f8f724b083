package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func (a *App) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health [SERVICE]",
		Short: "Show the judged health of the providers, and the evidence it rests on",
		Example: examples(
			"jurymast health", "of all services",
			"jurymast health chat -o wide", "of one, with the evidence",
		),
		GroupID: GroupLook,
		Args:    atMostArgs("SERVICE"), ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &jv1.ListHealthRequest{}
			if len(args) == 1 {
				req.Service = args[0]
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			res, err := api.ListHealth(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.showHealth(res)
		},
	}
}

func (a *App) showHealth(res *jv1.ListHealthResponse) error {
	t := &table{columns: []column{
		{title: "SERVICE"},
		{title: "PROVIDER"},
		{title: "HEALTH", tint: tintState},
		{title: "REASON", elastic: true},
		{title: "EPISODE", wide: true, right: true},
		{title: "EVIDENCE", wide: true},
		{title: "SINCE"},
	}}
	var names []named
	for _, h := range res.GetHealth() {
		evidence := make([]string, 0, len(h.GetEvidence()))
		for _, s := range h.GetEvidence() {
			evidence = append(evidence, signalText(s))
		}
		t.add(h.GetService(), h.GetProvider(), word(h.GetState()), dash(h.GetReason()), fmt.Sprint(h.GetGeneration()),
			dash(strings.Join(evidence, "; ")), a.moment(h.GetSince()))
		names = append(names, named{"health", h.GetService() + "/" + h.GetProvider()})
	}
	return a.show(result{
		message: res, names: names,
		text: func() error { return a.showTable(t, "Nothing is judged yet: no detector has spoken.") },
	})
}

// signalText shows who saw what.
func signalText(s *jv1.Signal) string {
	who := s.GetSource()
	if s.GetVantage() != "" {
		who += "@" + s.GetVantage()
	}
	text := fmt.Sprintf("%s (%s) %s", who, strings.ToLower(word(s.GetClass())), strings.ToLower(word(s.GetState())))
	return strings.TrimSuffix(text+": "+oneLine(s.GetSummary()), ": ")
}
