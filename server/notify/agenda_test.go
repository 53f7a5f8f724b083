package notify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	"github.com/jurymast/jurymast/server/store"
)

func TestAgendaGivesTheOldestOfAChannel(t *testing.T) {
	a := newAgenda()
	for _, i := range rand.Perm(100) {
		e := &entry{key: fmt.Sprint(i), n: note(fmt.Sprint(i), "", 0), create: int64(i)}
		e.n.Channel = []string{"even", "odd"}[i%2]
		a.addReady(e)
	}
	for i := range 100 {
		if e := a.takeReady([]string{"even", "odd"}[i%2]); e == nil || e.create != int64(i) {
			t.Fatalf("%d: took %+v", i, e)
		}
	}
	if e := a.takeReady("even"); e != nil || len(a.ready) != 1 {
		t.Errorf("took %+v from what is empty, left %v", e, a.ready)
	}
	if e := a.takeReady("unknown"); e != nil {
		t.Errorf("took %+v from what never was", e)
	}
}

func TestAgendaKeepsAppointments(t *testing.T) {
	a, began := newAgenda(), time.Unix(0, 0)
	if _, ok := a.takeDue(began); ok || !a.next().IsZero() {
		t.Error("an empty agenda has an appointment")
	}
	for _, i := range rand.Perm(50) {
		a.addLater(began.Add(time.Duration(i)*time.Second), lane{thread: fmt.Sprint(i)})
	}
	var got []string
	for now := began; !a.next().IsZero(); now = a.next() {
		for l, ok := a.takeDue(now); ok; l, ok = a.takeDue(now) {
			got = append(got, l.thread)
		}
	}
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("kept %q", got)
	}
}

func TestOnlyWhatChangedIsLookedAt(t *testing.T) {
	o := newOutbox()
	o.takeChanged()
	for i := range 3 {
		o.put("/k/"+fmt.Sprint(i), nil, 0, 0) // not ours
	}
	taken := func() []string {
		lanes, all := o.takeChanged()
		if all {
			t.Error("all lanes are to be looked at")
		}
		var threads []string
		for l := range lanes {
			threads = append(threads, l.thread)
		}
		slices.Sort(threads)
		return threads
	}
	for step, test := range []struct {
		do   func()
		want []string
	}{
		{func() {}, nil},
		{func() {
			o.putEntry(store.OutboxKey("a"), note("a", "one", 0), 1, 1)
			o.putEntry(store.OutboxKey("b"), note("b", "two", 0), 1, 1)
		}, []string{"one", "two"}},
		{func() {}, nil},
		{func() { o.putEntry(store.OutboxKey("a"), note("a", "one", 0), 1, 2) }, []string{"one"}},
		{func() { o.put(store.DeliveryKey("b"), &recordv1.Delivery{}, 1, 2) }, []string{"two"}},
		{func() { o.put(store.DeliveryKey("b"), nil, 0, 3) }, []string{"two"}},
		{func() { o.put(store.DeliveryKey("unknown"), &recordv1.Delivery{}, 1, 2) }, nil},
		{func() { o.putEntry(store.OutboxKey("a"), nil, 0, 3) }, []string{"one"}},
		{func() { o.putEntry(store.OutboxKey("a"), nil, 0, 3) }, nil},
	} {
		test.do()
		if got := taken(); !slices.Equal(got, test.want) {
			t.Errorf("step %d: %q, want %q", step, got, test.want)
		}
	}
}
