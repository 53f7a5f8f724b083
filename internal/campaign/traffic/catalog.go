// Package traffic starts runs through the API at a steady rate while a campaign makes trouble, keeps a ledger of what was
// accepted, and judges in the end whether everything that the product promises held.
//
// It promises to repeat every request whose answer it did not get with the same request id, through another replica, until
// it knows; and to call a campaign that did too little a failure. It uses nothing but the public API.
package traffic

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

// The providers of every service, and the runbooks that switch to them.
const (
	providerA = "alpha"
	providerB = "beta"
	toA       = "to-alpha"
	toB       = "to-beta"
)

// Steps of the runbooks: a switch, a call that may be repeated, one that may not, a wait, and a message.
const (
	stepSwitch = "switch"
	stepCall   = "call"
	stepOnce   = "once"
	stepWait   = "rest"
	stepTell   = "tell"
)

// Rest is how long every run waits between its calls and its message.
const Rest = time.Second

// serviceName is the name of service number i.
func serviceName(i int) string { return fmt.Sprintf("service-%02d", i) }

// Install applies the services, their providers, a channel that logs, and the runbooks, and gives an operator's word that
// all providers serve, so that switches pass the guards. It returns when every provider is judged healthy.
func Install(ctx context.Context, conn *grpc.ClientConn, services int, sink string) error {
	resources := []*jv1.Resource{
		provider(providerA, sink), provider(providerB, sink),
		{Kind: &jv1.Resource_Channel{Channel: &jv1.Channel{Name: "log", Kind: &jv1.Channel_Log{Log: &jv1.LogChannel{}}}}},
	}
	var names []string
	for i := range services {
		names = append(names, serviceName(i))
		resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Service{Service: &jv1.Service{
			Name:      serviceName(i),
			Providers: []*jv1.ServiceProvider{{Name: providerA}, {Name: providerB}},
			Health:    &jv1.HealthRule{Failing: &jv1.FailingRule{Agree: 1}, RecoveredAfter: durationpb.New(time.Second)},
		}}})
	}
	for _, target := range []string{providerA, providerB} {
		resources = append(resources, &jv1.Resource{Kind: &jv1.Resource_Runbook{Runbook: runbook("to-"+target, target, names, sink)}})
	}
	catalog := jv1.NewCatalogServiceClient(conn)
	if _, err := catalog.Apply(ctx, &jv1.ApplyRequest{Resources: resources}); err != nil {
		return fmt.Errorf("apply the catalog: %w", err)
	}
	return Vouch(ctx, conn, names, []string{providerA, providerB})
}

func provider(name, url string) *jv1.Resource {
	return &jv1.Resource{Kind: &jv1.Resource_Provider{Provider: &jv1.Provider{Name: name, BaseUrl: url}}}
}

func runbook(name, target string, services []string, sink string) *jv1.Runbook {
	post := func(id string, repeat jv1.Repeatability) *jv1.Step {
		return &jv1.Step{Id: id, Action: &jv1.Step_HttpRequest{HttpRequest: &jv1.HttpRequestStep{Url: sink + "/" + id, Repeat: repeat}}}
	}
	call := post(stepCall, jv1.Repeatability_REPEATABILITY_IDEMPOTENT)
	// Long enough that no fault that ends makes the step fail.
	call.Retry = &jv1.Retry{Attempts: 100, Initial: durationpb.New(200 * time.Millisecond), Max: durationpb.New(2 * time.Second)}
	return &jv1.Runbook{
		Name: name, Services: services,
		Steps: []*jv1.Step{
			{Id: stepSwitch, Action: &jv1.Step_SwitchProvider{SwitchProvider: &jv1.SwitchProviderStep{To: []string{target}}}},
			call, post(stepOnce, jv1.Repeatability_REPEATABILITY_AT_MOST_ONCE),
			{Id: stepWait, Action: &jv1.Step_Wait{Wait: &jv1.WaitStep{Duration: durationpb.New(Rest)}}},
			{Id: stepTell, Action: &jv1.Step_Notify{Notify: &jv1.NotifyStep{Channels: []string{"log"}, Template: "outage-handled"}}},
		},
	}
}

// Vouch gives an operator's word for every provider of every service, and waits until all are judged healthy.
func Vouch(ctx context.Context, conn *grpc.ClientConn, services, providers []string) error {
	detectors := jv1.NewDetectorServiceClient(conn)
	for _, s := range services {
		for _, p := range providers {
			if _, err := detectors.SetOperatorSignal(ctx, &jv1.SetOperatorSignalRequest{
				Service: s, Provider: p, State: jv1.SignalState_SIGNAL_STATE_OK, Reason: "campaign", ValidFor: durationpb.New(240 * time.Hour),
			}); err != nil {
				return fmt.Errorf("vouch for %s of %s: %w", p, s, err)
			}
		}
	}
	for {
		healthy := 0
		for _, s := range services {
			all, err := detectors.ListHealth(ctx, &jv1.ListHealthRequest{Service: s})
			if err != nil {
				return fmt.Errorf("health of %s: %w", s, err)
			}
			for _, h := range all.GetHealth() {
				if h.GetState() == jv1.HealthState_HEALTH_STATE_HEALTHY {
					healthy++
				}
			}
		}
		if healthy == len(providers)*len(services) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d providers are judged healthy: %w", healthy, len(providers)*len(services), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
