package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/continuity"
	"github.com/jurymast/jurymast/server/store"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestAnOutageTellsItsIncidentFromTheFirstMomentToTheLast(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(shipped(t, "ai-provider-outage"), shipped(t, "fail-back"))
		before := r.revision()
		r.fails("a", 1)
		synctest.Wait()
		if n := r.revision() - before; n != 2 {
			t.Errorf("%d transactions for the health and the whole run", n)
		}
		inc := r.incidents()[0]
		if inc.GetStatus() != monitoring || inc.GetImpact() != jv1.IncidentImpact_INCIDENT_IMPACT_MAJOR || inc.GetTitle() != "chat: trouble with a" ||
			len(inc.GetUpdates()) != 2 || inc.GetUpdates()[0].GetStatus() != identified || inc.GetResolveTime() != nil ||
			time.Until(inc.GetNextUpdateTime().AsTime()) != 30*time.Minute || len(inc.GetRuns()) != 1 || inc.GetOnset() == nil {
			t.Fatalf("incident %v", inc)
		}
		if text := inc.GetUpdates()[1].GetText(); !strings.Contains(text, "served by b instead of a") {
			t.Errorf("text %q", text)
		}
		if get[*recordv1.OpenIncident](r, store.OpenIncidentKey("chat")).GetIncident() != inc.GetName() {
			t.Error("the service is not tied to it")
		}
		r.health("a", jv1.HealthState_HEALTH_STATE_HEALTHY, 0)
		start(t, r, "fail-back")
		time.Sleep(11 * time.Minute)
		inc = r.incidents()[0]
		if len(r.incidents()) != 1 || inc.GetStatus() != resolved || inc.GetResolveTime() == nil || inc.GetNextUpdateTime() != nil || len(inc.GetRuns()) != 2 {
			t.Errorf("incident %v", inc)
		}
		if tie := get[*recordv1.OpenIncident](r, store.OpenIncidentKey("chat")); tie != nil {
			t.Errorf("still tied: %v", tie)
		}
	})
}

func TestNobodyServesIsCritical(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(shipped(t, "ai-provider-outage"))
		r.health("b", jv1.HealthState_HEALTH_STATE_FAILING, 0)
		r.health("c", jv1.HealthState_HEALTH_STATE_FAILING, 0)
		r.fails("a", 1)
		synctest.Wait()
		inc := r.incidents()[0]
		if inc.GetStatus() != identified || inc.GetImpact() != jv1.IncidentImpact_INCIDENT_IMPACT_CRITICAL || len(inc.GetUpdates()) != 2 ||
			!strings.Contains(inc.GetUpdates()[1].GetText(), "No provider can serve chat") {
			t.Errorf("incident %v", inc)
		}
	})
}

func TestNothingIsResolvedWhereNothingIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog(book("s", doing(say("over", resolved))))
		start(t, r, "s")
		synctest.Wait()
		want(t, r.only(), succeeded)
		if len(r.incidents()) != 0 {
			t.Errorf("incidents %v", r.incidents())
		}
	})
}

// services adds further services that use the same providers, of one vendor, and are told about each on its own.
func (r *rig) services(t *testing.T, names []string, steps ...*jv1.Step) {
	t.Helper()
	for _, p := range []string{"a", "b", "c"} {
		vendor := map[string]string{"a": "acme"}[p]
		r.commit(store.Put(store.ProviderKey(p), &jv1.Provider{Name: p, BaseUrl: "http://" + p, Vendor: vendor}))
	}
	for _, name := range names {
		svc := proto.CloneOf(get[*jv1.Service](r, store.ServiceKey("chat")))
		svc.Name = name
		r.commit(store.Put(store.ServiceKey(name), svc),
			store.Put(store.ContinuityKey(name), continuity.Initial(svc, continuity.Author{Actor: "test"}, time.Now())))
		b := book("outage-"+name, doing(steps...))
		b.Services = []string{name}
		r.books(b)
	}
}

// failFor stores that a provider fails for a service.
func failFor(service string) []store.Op {
	now := timestamppb.Now()
	name := "h-" + service
	return []store.Op{
		store.Put(store.HealthKey(service, "a"), &jv1.Health{
			Service: service, Provider: "a", State: jv1.HealthState_HEALTH_STATE_FAILING, Generation: 1, Since: now,
		}),
		store.Put(store.TriggerKey(name), &jv1.Trigger{
			Name: name, Cause: jv1.TriggerCause_TRIGGER_CAUSE_HEALTH, Service: service, Provider: "a",
			Health: jv1.HealthState_HEALTH_STATE_FAILING, Generation: 1, State: jv1.TriggerState_TRIGGER_STATE_PENDING, CreateTime: now, Onset: now,
		}),
	}
}

// One vendor's outage hits many services at the same moment: people are told of one incident, whatever the order.
func TestServicesOfOneVendorShareAnIncident(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog()
		var names []string
		var ops []store.Op
		for i := range 40 {
			names = append(names, fmt.Sprintf("svc-%d", i))
		}
		r.services(t, names, say("bad", identified), pauseFor(time.Hour), say("over", resolved))
		for _, name := range names {
			ops = append(ops, failFor(name)...)
		}
		r.commit(ops...)
		began := time.Now()
		for len(r.runs()) < len(names) && time.Since(began) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v until all were told of", took)
		}
		all := r.incidents()
		if len(all) != 1 || len(all[0].GetServices()) != 40 || all[0].GetVendor() != "acme" || len(all[0].GetUpdates()) != 40 {
			t.Fatalf("incidents %v", all)
		}
		// It is over when it is over for the last of them.
		time.Sleep(30 * time.Minute)
		r.commit(store.Delete(store.ServiceKey("svc-39"))) // nobody will say that it is over there
		time.Sleep(31 * time.Minute)
		inc := r.incidents()[0]
		if inc.GetStatus() != resolved || len(inc.GetUpdates()) != 50 || inc.GetUpdates()[len(inc.GetUpdates())-2].GetStatus() != identified {
			t.Errorf("incident %v", inc)
		}
	})
}

func TestAnotherVendorIsAnotherIncident(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog()
		r.services(t, []string{"one", "two"}, say("bad", identified))
		r.commit(store.Put(store.OpenIncidentKey("chat"), &recordv1.OpenIncident{Incident: "i-other"}),
			store.Put(store.IncidentKey("i-other"), &jv1.Incident{Name: "i-other", Vendor: "someone", Services: []string{"chat"}, Status: identified}))
		r.commit(failFor("one")...)
		synctest.Wait()
		if n := len(r.incidents()); n != 2 {
			t.Errorf("%d incidents: %v", n, r.incidents())
		}
	})
}

func TestIncidentsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var steps []*jv1.Step
		for i := range 50 {
			s := say(fmt.Sprintf("s%d", i), identified)
			s.GetUpdateIncident().Text = strings.Repeat("ä", 3000) + fmt.Sprint(i)
			s.GetUpdateIncident().NextUpdateIn = durationpb.New(time.Minute)
			steps = append(steps, s)
		}
		short := book("short", doing(say("one", monitoring)))
		r.catalog(book("long", doing(steps...)), short)
		for range 3 {
			start(t, r, "long")
			synctest.Wait()
		}
		inc := r.incidents()[0]
		if n := len(inc.GetUpdates()); n < 5 || n > 50 || proto.Size(inc) > 64<<10 || len(r.incidents()) != 1 {
			t.Errorf("%d updates, %d bytes, %d incidents", n, proto.Size(inc), len(r.incidents()))
		}
		if last := inc.GetUpdates()[len(inc.GetUpdates())-1].GetText(); !strings.HasSuffix(last, "49") {
			t.Errorf("the last word is lost: %.20q", last)
		}
		for range 60 {
			start(t, r, "short")
			synctest.Wait()
		}
		if inc := r.incidents()[0]; len(inc.GetUpdates()) != 50 || len(inc.GetRuns()) != 50 {
			t.Errorf("%d updates, %d runs", len(inc.GetUpdates()), len(inc.GetRuns()))
		}
	})
}
