package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
)

func (a *App) checkCommand() *cobra.Command {
	var files []string
	limit := 10 * time.Second
	cmd := &cobra.Command{
		Use:   "check [SERVICE...]",
		Short: "Make a real call to each provider, and look for what would not work when it matters",
		Long: "Make a real call to each provider: is the key here, does the base URL answer, does it take the key, does it list the\n" +
			"models that services want? Credentials are resolved on this machine, which should be one that has them. Beside that\n" +
			"it warns of health rules that can't be met and of providers that nobody observes. With -f nothing needs a server.",
		Example: examples(
			"jurymast check", "every provider",
			"jurymast check chat --call-timeout 5s", "those of one service",
			"jurymast check -f dr/", "those that files declare",
		),
		GroupID:           GroupLook,
		ValidArgsFunction: a.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			catalog, err := a.catalogToCheck(cmd.Context(), files)
			if err != nil {
				return err
			}
			services, providers, err := chosen(catalog, args)
			if err != nil {
				return err
			}
			results := probeAll(cmd.Context(), providers, limit)
			var warnings []string
			for _, s := range services {
				for _, sp := range s.GetProviders() {
					if i := slices.IndexFunc(results, func(p probed) bool { return p.Provider == sp.GetName() }); i >= 0 {
						results[i].wants(s)
					}
				}
				_, w := runbooks.ValidateService(s, catalog)
				warnings = append(warnings, w...)
			}
			for _, p := range results {
				if len(p.Services) == 0 {
					warnings = append(warnings, "provider "+p.Provider+": no service uses it")
				}
			}
			if len(files) == 0 {
				w, err := a.storeWarnings(cmd.Context())
				if err != nil {
					return err
				}
				warnings = append(warnings, w...)
			}
			return a.showChecks(results, warnings)
		},
	}
	filesFlag(cmd, &files)
	cmd.Flags().DurationVar(&limit, "call-timeout", limit, "longest wait for one provider")
	return cmd
}

// staleBackup is how old the last backup may be: one a day, and some time to take it.
const staleBackup = 26 * time.Hour

// storeWarnings looks at the server's store: whether it may be acted on, and whether it could be restored.
func (a *App) storeWarnings(ctx context.Context) (warnings []string, err error) {
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	info, err := api.GetInfo(ctx, &jv1.GetInfoRequest{})
	if err != nil {
		return nil, err
	}
	if o := info.GetObserveOnly(); o != nil {
		warnings = append(warnings, "the replicas only observe: "+oneLine(o.GetDetail())+"; `jurymast restore confirm` lets them act again")
	}
	last := info.GetLastBackup().GetSuccessTime()
	switch {
	case last.IsValid() && time.Since(last.AsTime()) > staleBackup:
		warnings = append(warnings, "the last backup is of "+a.moment(last)+": `jurymast backup FILE` takes one")
	case !last.IsValid() && info.GetStartTime().IsValid() && time.Since(info.GetStartTime().AsTime()) > staleBackup:
		warnings = append(warnings, "no backup was ever taken: `jurymast backup FILE` takes one")
	}
	return warnings, nil
}

// catalogToCheck takes what is declared from files or from the server.
func (a *App) catalogToCheck(ctx context.Context, files []string) (*runbooks.Catalog, error) {
	if len(files) > 0 {
		documents, err := a.load(files)
		if err != nil {
			return nil, asMistakes(err)
		}
		c := &runbooks.Catalog{Providers: map[string]*jv1.Provider{}, Services: map[string]*jv1.Service{}, Detectors: map[string]*jv1.Detector{}}
		for _, r := range resourcesOf(documents) {
			switch v := r.GetKind().(type) {
			case *jv1.Resource_Provider:
				c.Providers[v.Provider.GetName()] = v.Provider
			case *jv1.Resource_Service:
				c.Services[v.Service.GetName()] = v.Service
			case *jv1.Resource_Detector:
				c.Detectors[v.Detector.GetName()] = v.Detector
			}
		}
		return c, nil
	}
	api, err := a.api()
	if err != nil {
		return nil, err
	}
	c, err := catalogOf(ctx, api)
	if err != nil {
		return nil, err
	}
	info, err := api.GetInfo(ctx, &jv1.GetInfoRequest{})
	if err != nil {
		return nil, err
	}
	c.Vantages = len(info.GetReplicas())
	return c, nil
}

// chosen returns the named services and their providers, or all.
func chosen(c *runbooks.Catalog, names []string) (services []*jv1.Service, providers []*jv1.Provider, err error) {
	if len(names) == 0 {
		for _, n := range sortedKeys(c.Services) {
			services = append(services, c.Services[n])
		}
		for _, n := range sortedKeys(c.Providers) {
			providers = append(providers, c.Providers[n])
		}
		return services, providers, nil
	}
	for _, n := range names {
		s := c.Services[n]
		if s == nil {
			return nil, nil, Exit(ExitNotFound, fmt.Errorf("there is no service %q", n))
		}
		services = append(services, s)
		for _, sp := range s.GetProviders() {
			if p := c.Providers[sp.GetName()]; p != nil && !slices.Contains(providers, p) {
				providers = append(providers, p)
			}
		}
	}
	return services, providers, nil
}

// probesAtOnce bounds the calls that are under way.
const probesAtOnce = 16

func probeAll(ctx context.Context, providers []*jv1.Provider, limit time.Duration) []probed {
	results := make([]probed, len(providers))
	var all sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	for i, p := range providers {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = probe(ctx, p, limit)
		})
	}
	all.Wait()
	return results
}

func (a *App) showChecks(results []probed, warnings []string) error {
	t := &table{columns: []column{
		{title: "PROVIDER"},
		{title: "RESULT", tint: tintVerdict},
		{title: "STATUS", right: true},
		{title: "MODELS", right: true},
		{title: "TOOK", right: true},
		{title: "SERVICES", wide: true},
		{title: "DETAIL", elastic: true},
	}}
	var names []named
	bad := 0
	for _, p := range results {
		if !p.Verdict.good() {
			bad++
		}
		status, models := "", ""
		if p.Status != 0 {
			status = fmt.Sprint(p.Status)
		}
		if p.Models > 0 {
			models = fmt.Sprint(p.Models)
		}
		t.add(p.Provider, string(p.Verdict), status, models, p.Took.Round(time.Millisecond).String(), dash(strings.Join(p.Services, ",")), dash(p.Detail))
		names = append(names, named{"provider", p.Provider})
	}
	if err := a.show(result{
		names: names,
		json: func() ([]byte, error) {
			return indented(struct {
				Providers []probed `json:"providers"`
				Warnings  []string `json:"warnings"`
			}{append([]probed{}, results...), append([]string{}, warnings...)})
		},
		text: func() error { return a.showTable(t, "There are no providers.") },
	}); err != nil {
		return err
	}
	for _, w := range warnings {
		a.say("warning: %s", w)
	}
	if bad > 0 {
		return Exit(ExitFailed, fmt.Errorf("%s would not serve", count(bad, "provider", "providers")))
	}
	return nil
}

func tintVerdict(word string) tint {
	switch verdict(word) {
	case verdictOK:
		return tintGood
	case verdictReachable, verdictThrottled, verdictNoModel:
		return tintDoubt
	default:
		return tintBad
	}
}
