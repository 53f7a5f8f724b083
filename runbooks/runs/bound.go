package runs

import (
	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/runbooks"
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
		for len(s.GetAttempts()) > 1 && StepEnded(s.GetState()) {
			s.Attempts = dropAttempt(s.GetAttempts())
		}
		if u := s.GetUndoing(); u != nil && len(u.GetAttempts()) > 1 {
			u.Attempts = u.GetAttempts()[len(u.GetAttempts())-1:]
		}
	}
	for n := maxError / 2; n > 10 && proto.Size(run) > maxRecord; n /= 2 {
		for _, s := range run.GetSteps() {
			shortenStep(s, n)
		}
	}
	for n := maxError / 2; n > 10 && proto.Size(run) > maxRecord; n /= 2 {
		for _, s := range run.GetSteps() {
			shortenOutput(s, n)
		}
	}
}

// shortenStep cuts the texts of a step to n bytes.
func shortenStep(s *jv1.StepRun, n int) {
	s.Error = bounded(s.GetError(), n)
	for _, a := range s.GetAttempts() {
		a.Error, a.Result = bounded(a.GetError(), n), bounded(a.GetResult(), n)
	}
	if u := s.GetUndoing(); u != nil {
		u.Error = bounded(u.GetError(), n)
		for _, a := range u.GetAttempts() {
			a.Error, a.Result = bounded(a.GetError(), n), bounded(a.GetResult(), n)
		}
	}
	for _, d := range s.GetDecisions() {
		d.Comment = bounded(d.GetComment(), n)
	}
	// What an answer said is for people; what was taken out of it is what later steps go on from.
	if text, ok := s.GetOutput()[runbooks.ResultOutput]; ok && s.GetKind() == "http_request" {
		s.Output[runbooks.ResultOutput] = bounded(text, n)
	}
}

// shortenOutput cuts what a step gave to n bytes. Names and numbers are shorter than 64 bytes and never cut.
func shortenOutput(s *jv1.StepRun, n int) {
	if s.GetKind() == "run_runbook" {
		return // what it gives are the parameters of the steps inside of it
	}
	for k, v := range s.GetOutput() {
		s.Output[k] = bounded(v, max(n, 64))
	}
}
