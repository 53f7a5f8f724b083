package runs

import (
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// maxRecord is the most bytes of a record that may still be shortened: below the 64 KiB of a record, with room for what
// its writer adds.
const maxRecord = 62 << 10

// shorten keeps the record within its bound: fifty steps that each keep ten attempts and what receivers answered are
// many times that. What goes first is needed least: the earlier attempts of steps that have ended, then the ends of
// texts. The events keep what happened.
func shorten(run *jv1.Run) {
	if proto.Size(run) <= maxRecord {
		return
	}
	for _, s := range run.GetSteps() {
		if n := len(s.GetAttempts()); n > 1 && StepEnded(s.GetState()) {
			s.Attempts = s.Attempts[n-1:]
		}
	}
	for n := maxError / 2; n > 10 && proto.Size(run) > maxRecord; n /= 2 {
		for _, s := range run.GetSteps() {
			shortenStep(s, n)
		}
	}
}

// shortenStep cuts the texts of a step to n bytes.
func shortenStep(s *jv1.StepRun, n int) {
	s.Error = bounded(s.GetError(), n)
	for _, a := range s.GetAttempts() {
		a.Error, a.Result = bounded(a.GetError(), n), bounded(a.GetResult(), n)
	}
	for _, d := range s.GetDecisions() {
		d.Comment = bounded(d.GetComment(), n)
	}
	if s.GetKind() == "run_runbook" {
		return // what it gives are the parameters of the steps inside of it
	}
	// What steps go on from, names and numbers, is shorter than 64 bytes and never cut.
	for k, v := range s.GetOutput() {
		s.Output[k] = bounded(v, max(n, 64))
	}
}
