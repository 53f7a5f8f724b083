package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks/manifest"
)

// applyAtMost is the most resources of one transaction, as ApplyRequest says.
const applyAtMost = 40

func (a *App) applyCommand() *cobra.Command {
	var files []string
	var dryRun, split bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE...",
		Short: "Store what files declare, all or nothing",
		Long: "Store what files declare, in one transaction: all of it or nothing. What is wrong is shown with its place in the\n" +
			"file. What will not work as it may look is warned about.",
		Example: examples(
			"jurymast apply -f dr.yaml", "a file",
			"jurymast apply -f dr/ --dry-run", "ask the server whether it would take a folder",
			"jurymast get all -o yaml | jurymast --context other apply -f -", "copy everything to another installation",
		),
		GroupID: GroupDeclare,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			documents, err := a.load(files)
			if err != nil {
				return asMistakes(err)
			}
			parts := [][]manifest.Document{documents}
			if len(documents) > applyAtMost {
				if !split {
					return usage("%d resources: one transaction holds %d at most; --split applies them in several, each all or nothing",
						len(documents), applyAtMost)
				}
				sortDocuments(documents)
				parts = slices.Collect(slices.Chunk(documents, applyAtMost))
			}
			return a.apply(cmd.Context(), parts, dryRun)
		},
	}
	filesFlag(cmd, &files)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only let the server check, store nothing")
	cmd.Flags().BoolVar(&split, "split", false, "more resources than one transaction holds: apply them in several")
	return cmd
}

// asMistakes shows the errors of files as mistakes, and leaves others as they are.
func asMistakes(err error) error {
	var errs manifest.Errors
	if errors.As(err, &errs) {
		return mistakes(errs)
	}
	return err
}

// apply stores documents, each part in a transaction of its own.
func (a *App) apply(ctx context.Context, parts [][]manifest.Document, dryRun bool) error {
	api, err := a.api()
	if err != nil {
		return err
	}
	all := &jv1.ApplyResponse{}
	for i, documents := range parts {
		res, err := api.Apply(ctx, &jv1.ApplyRequest{Resources: resourcesOf(documents), ValidateOnly: dryRun, RequestId: requestID()})
		if err != nil {
			if i > 0 {
				a.say("%d of %d parts were applied before", i, len(parts))
			}
			return placed(err, documents)
		}
		all.Results = append(all.Results, res.GetResults()...)
		all.Warnings = append(all.Warnings, res.GetWarnings()...)
		all.Revision = max(all.GetRevision(), res.GetRevision())
	}
	var names []named
	for _, r := range all.GetResults() {
		names = append(names, named{r.GetKind(), r.GetName()})
	}
	suffix := ""
	if dryRun {
		suffix = " (dry run)"
	}
	if err := a.show(result{message: all, names: names, text: func() error {
		for _, r := range all.GetResults() {
			w := word(r.GetAction())
			if err := a.printf("%s/%s %s%s\n", r.GetKind(), r.GetName(), a.paint.as(tintState(w), lower(w)), suffix); err != nil {
				return err
			}
		}
		return nil
	}}); err != nil {
		return err
	}
	for _, w := range all.GetWarnings() {
		a.say("warning: %s", w)
	}
	return nil
}
