package steps

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
	"github.com/jurymast/jurymast/runbooks/runs"
)

// maxParameters is the most bytes of the parameters that all runbooks inside of a run are given: they stand in its record
// for good.
const maxParameters = 8 << 10

// Enter is the event with which a step that is made of steps begins. What a `run_runbook` gives the runbook it runs is
// filled in now, once, and kept as the step's output; a value that can't be makes the step fail.
func (in *Input) Enter() runs.Event {
	ev := in.event(jv1.RunEventKind_RUN_EVENT_KIND_STEP_WAITING, "runs %d steps side by side", len(in.Tree.Nodes[in.Node].Children))
	if spec := in.Step.GetRunRunbook(); spec != nil {
		given, err := in.given(spec)
		if err != nil {
			return in.Failure(err.Error())
		}
		ev.Message = fmt.Sprintf("runs the steps of %s, version %d", spec.GetRunbook(), in.Tree.Included[spec.GetRunbook()])
		ev.Output = given
	}
	if d := in.Step.GetTimeout(); d != nil {
		ev.Deadline = in.Desk.Now.Add(d.AsDuration())
	}
	return ev
}

func (in *Input) given(spec *jv1.RunRunbookStep) (map[string]string, error) {
	size := 0
	for i, n := range in.Tree.Nodes {
		if n.Step.GetRunRunbook() == nil {
			continue
		}
		for name, value := range in.Run.GetSteps()[i].GetOutput() {
			size += len(name) + len(value)
		}
	}
	out := map[string]string{}
	data := messageData(in)
	for _, name := range slices.Sorted(maps.Keys(spec.GetParameters())) {
		src := spec.GetParameters()[name]
		value, err := expand(src, 4*runbooks.MaxParameter, data)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", name, err)
		}
		size += len(name) + len(value)
		out[name] = value
	}
	for _, frame := range in.Tree.Frames {
		if frame.Node != in.Node {
			continue
		}
		if wrong := runbooks.CheckParameters(frame.Plan, in.Desk.Service.Msg, out); len(wrong) > 0 {
			return nil, errors.New(wrong[0].Message)
		}
	}
	if size > maxParameters {
		return nil, fmt.Errorf("the parameters given to runbooks come to %d bytes in this run, at most %d are allowed", size, maxParameters)
	}
	for _, frame := range in.Tree.Frames {
		if frame.Node != in.Node {
			continue
		}
		for _, problem := range runbooks.CheckParameters(frame.Plan, in.Desk.Service.Msg, out) {
			return nil, fmt.Errorf("%s (%s)", problem.Message, problem.Reason)
		}
	}
	return out, nil
}

// Failure is the event of a step that fails for good now: it ends, or waits for a human when the plan says pause.
func (in *Input) Failure(text string) runs.Event { return in.failure(in.Desk.Now, text) }
