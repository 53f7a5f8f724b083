package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/manifest"
)

func (a *App) validateCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:     "validate -f FILE...",
		Aliases: []string{"lint"},
		Short:   "Check files offline, with line and column of every mistake",
		Long: "Check files offline, by the same code that the server uses. What the files refer to and don't hold is warned about:\n" +
			"the server may know it. `jurymast apply --dry-run` asks the server.",
		Example: examples(
			"jurymast validate -f dr/", "a folder",
			"jurymast validate -f dr/ -o json", "for a pipeline or an editor",
		),
		GroupID: GroupDeclare,
		Args:    exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			documents, err := a.load(files)
			var errs manifest.Errors
			if err != nil && !errors.As(err, &errs) {
				return err
			}
			problems, warnings := runbooks.ValidateResources(resourcesOf(documents), nil)
			errs = append(errs, manifest.Problems(documents, problems)...)
			return a.showValidation(documents, errs, warnings)
		},
	}
	filesFlag(cmd, &files)
	return cmd
}

// validation is the result of checking files, as JSON.
type validation struct {
	Valid    int             `json:"valid"`
	Problems []placedProblem `json:"problems"`
	Warnings []string        `json:"warnings"`
}

// placedProblem is one mistake, with its place.
type placedProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func (a *App) showValidation(documents []manifest.Document, errs manifest.Errors, warnings []string) error {
	v := validation{Problems: []placedProblem{}, Warnings: []string{}}
	for _, e := range errs {
		v.Problems = append(v.Problems, placedProblem{e.File, e.Line, e.Column, e.Message})
	}
	v.Warnings = append(v.Warnings, warnings...)
	var names []named
	if len(errs) == 0 {
		v.Valid = len(documents)
		for _, d := range documents {
			names = append(names, named{runbooks.KindOf(d.Resource), runbooks.NameOf(d.Resource)})
		}
	}
	if err := a.show(result{
		names: names, json: func() ([]byte, error) { return indented(v) },
		text: func() error {
			for _, w := range warnings {
				a.say("warning: %s", w)
			}
			if len(errs) > 0 {
				return nil
			}
			return a.printf("%s valid\n", count(len(documents), "resource is", "resources are"))
		},
	}); err != nil {
		return err
	}
	switch {
	case len(errs) == 0:
		return nil
	case a.out == outputJSON || a.out == outputYAML:
		return Exit(ExitFailed, nil)
	default:
		return mistakes(errs)
	}
}
