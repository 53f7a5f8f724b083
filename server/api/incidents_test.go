package api_test

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

func TestIncidentsAreListedNewestFirst(t *testing.T) {
	r := start(t, options{})
	for i, over := range []bool{true, false, false} {
		inc := &jv1.Incident{Name: fmt.Sprintf("i-%d", i), Title: "t", Services: []string{"chat"}}
		if i == 2 {
			inc.Services = []string{"video", "search"}
		}
		if over {
			inc.ResolveTime = timestamppb.Now()
		}
		r.put(store.Put(store.IncidentKey(inc.GetName()), inc))
	}
	incidents := jv1.NewIncidentServiceClient(r.conn)
	for want, req := range map[string]*jv1.ListIncidentsRequest{
		"[i-2 i-1 i-0]": {}, "[i-2 i-1]": {Open: true}, "[i-1 i-0]": {Service: "chat"}, "[i-2]": {Service: "search"}, "[i-1]": {Service: "chat", PageSize: 1},
	} {
		res, err := incidents.ListIncidents(t.Context(), req)
		var got []string
		for _, i := range res.GetIncidents() {
			got = append(got, i.GetName())
		}
		if err != nil || fmt.Sprint(got) != want || (res.GetNextPageToken() != "") != (req.GetPageSize() == 1) {
			t.Errorf("%v: %v, want %s, %v", req, got, want, err)
		}
	}
	if got := r.do("GET", "/v1/incidents/i-2", ""); got.code != 200 {
		t.Errorf("over HTTP: %v", got)
	}
	if got := r.do("GET", "/v1/incidents?opne=true", ""); got.code != 400 {
		t.Errorf("an unknown parameter: %v", got)
	}
	_, err := incidents.GetIncident(t.Context(), &jv1.GetIncidentRequest{Name: "i-9"})
	wants(t, err, codes.NotFound, "NOT_FOUND")
}

// A later service of the same name must not find itself in the incident of this one.
func TestARemovedServiceIsInNoIncident(t *testing.T) {
	r := start(t, options{})
	r.put(store.Put(store.ServiceKey("chat"), &jv1.Service{Name: "chat"}),
		store.Put(store.OpenIncidentKey("chat"), &recordv1.OpenIncident{Incident: "i-1"}))
	if _, err := r.catalog().Delete(t.Context(), &jv1.DeleteRequest{Kind: "service", Name: "chat"}); err != nil {
		t.Fatal(err)
	}
	var tied bool
	r.store.Read(func(v store.View) { _, _, _, tied = v.Lookup(store.OpenIncidentKey("chat")) })
	if tied {
		t.Error("the tie is left behind")
	}
}
