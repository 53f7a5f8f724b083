package linear_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/jurymast/jurymast/internal/campaign/linear"
)

var begin = linear.Begin{Active: "a", Epoch: 1}

// tell adds operations one after the other: each begins when the one before has been answered.
func tell(ops ...linear.Op) *linear.History {
	h := linear.NewHistory()
	for i, op := range ops {
		op.Service = "s"
		h.Add(i%3, time.Now(), op)
		time.Sleep(time.Microsecond) // so that no two share an instant
	}
	return h
}

// The checker must be able to fail: each of these histories is wrong in one way that a broken server would show.
func TestPlantedHistories(t *testing.T) {
	to := func(provider string, epoch int64) linear.Op {
		return linear.Op{Kind: linear.Switch, Provider: provider, Epoch: epoch}
	}
	run := func(kind linear.Kind, name string) linear.Op { return linear.Op{Kind: kind, Run: name} }
	read := func(provider string, epoch int64, on bool) linear.Op {
		return linear.Op{Kind: linear.Read, Provider: provider, Epoch: epoch, On: on}
	}
	lost := func(op linear.Op) linear.Op {
		op.Unknown = true
		return op
	}
	for _, test := range []struct {
		name string
		ops  []linear.Op
		want porcupine.CheckResult
	}{
		{"switches in turn", []linear.Op{to("b", 1), to("a", 2), to("a", 3), read("a", 3, false)}, porcupine.Ok},
		{"the same epoch won twice", []linear.Op{to("b", 1), to("c", 1)}, porcupine.Illegal},
		{"an epoch that nobody made", []linear.Op{to("b", 1), to("a", 3)}, porcupine.Illegal},
		{"an epoch that nobody heard of being made", []linear.Op{to("b", 1), lost(to("c", 2)), to("a", 3)}, porcupine.Ok},
		{"a lost switch that happened twice", []linear.Op{lost(to("b", 1)), to("a", 3)}, porcupine.Illegal},
		{"a read of what never was", []linear.Op{to("b", 1), read("c", 2, false)}, porcupine.Illegal},
		{"a read of a moment ago", []linear.Op{to("b", 1), read("a", 1, false)}, porcupine.Ok},
		{"queueing", []linear.Op{{Kind: linear.Queue, On: true, Epoch: 1}, read("a", 2, true), {Kind: linear.Queue, On: true, Epoch: 2}, to("b", 2)}, porcupine.Ok},
		{"queueing that made no epoch", []linear.Op{{Kind: linear.Queue, On: true, Epoch: 1}, to("b", 1)}, porcupine.Illegal},
		{"undo", []linear.Op{to("b", 1), {Kind: linear.Undo, Epoch: 2}, read("a", 3, false)}, porcupine.Ok},
		{"undo of nothing", []linear.Op{{Kind: linear.Undo, Epoch: 1}}, porcupine.Illegal},
		{"two runs at once", []linear.Op{run(linear.Start, "r1"), run(linear.Start, "r2")}, porcupine.Illegal},
		{"a run after another one was canceled", []linear.Op{run(linear.Start, "r1"), run(linear.Cancel, "r1"), run(linear.Start, "r2")}, porcupine.Ok},
		{"a run after another one was paused", []linear.Op{run(linear.Start, "r1"), run(linear.Pause, "r1"), run(linear.Start, "r2")}, porcupine.Ok},
		{"a run after another one was resumed", []linear.Op{run(linear.Start, "r1"), run(linear.Pause, "r1"), run(linear.Resume, "r1"), run(linear.Start, "r2")}, porcupine.Illegal},
		{"a resumed run that had given way", []linear.Op{run(linear.Start, "r1"), run(linear.Pause, "r1"), run(linear.Start, "r2"), run(linear.Resume, "r1")}, porcupine.Illegal},
		{"a lost switch and its epoch made by another", []linear.Op{lost(to("b", 1)), to("c", 1), read("c", 2, false)}, porcupine.Ok},
		{"a lost switch in the place of another", []linear.Op{lost(to("b", 1)), read("b", 2, false), to("c", 1)}, porcupine.Illegal},
		{"a lost cancel of a run that had gone", []linear.Op{
			run(linear.Start, "r1"), run(linear.Cancel, "r1"), run(linear.Start, "r2"), lost(run(linear.Cancel, "r1")), run(linear.Start, "r3"),
		}, porcupine.Illegal},
		{"a run whose cancel nobody heard", []linear.Op{run(linear.Start, "r1"), lost(run(linear.Cancel, "r1")), run(linear.Start, "r2")}, porcupine.Ok},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdict := tell(test.ops...).Check(begin, time.Minute)
			if verdict.Result != test.want || verdict.Operations != len(test.ops) {
				t.Errorf("%s of %d operations, want %s", verdict.Result, verdict.Operations, test.want)
			}
		})
	}
}

// Hundreds of lost answers must not keep the checker from an answer.
func TestManyLostAnswers(t *testing.T) {
	h := linear.NewHistory()
	add := func(op linear.Op) {
		op.Service = "s"
		h.Add(0, time.Now(), op)
		time.Sleep(time.Microsecond)
	}
	for epoch := int64(1); epoch <= 300; epoch++ {
		for range 3 {
			add(linear.Op{Kind: linear.Switch, Provider: string(rune('x' + epoch%3)), Epoch: epoch, Unknown: true})
			add(linear.Op{Kind: linear.Cancel, Run: "r", Unknown: true})
		}
		add(linear.Op{Kind: linear.Switch, Provider: string(rune('a' + epoch%2)), Epoch: epoch})
	}
	verdict := h.Check(linear.Begin{Active: "a", Epoch: 1}, time.Minute)
	if verdict.Result != porcupine.Ok {
		t.Errorf("%s after a minute", verdict.Result)
	}
}

func TestCountAndDraw(t *testing.T) {
	h := tell(linear.Op{Kind: linear.Read, Provider: "a", Epoch: 1}, linear.Op{Kind: linear.Start, Unknown: true})
	answered, unknown := h.Count()
	if answered[linear.Read] != 1 || answered[linear.Start] != 0 || unknown != 1 {
		t.Errorf("%v answered, %d unknown", answered, unknown)
	}
	path := filepath.Join(t.TempDir(), "history.html")
	if err := h.Check(begin, time.Minute).Draw(path); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || len(text) < 1000 {
		t.Errorf("the picture has %d bytes, %v", len(text), err)
	}
}
