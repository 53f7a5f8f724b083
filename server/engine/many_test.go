package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
)

// A service may have many providers, and all of them may fail.
func TestASwitchAmongManyProvidersFitsIntoATransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.catalog()
		svc := &jv1.Service{Name: "chat"}
		var names []string
		for i := range 64 {
			name := fmt.Sprintf("p%d", i)
			if i == 0 {
				name = "a"
			}
			names = append(names, name)
			svc.Providers = append(svc.Providers, &jv1.ServiceProvider{Name: name})
			r.commit(store.Put(store.ProviderKey(name), &jv1.Provider{Name: name}))
			r.health(name, jv1.HealthState_HEALTH_STATE_UNKNOWN, 0)
		}
		r.health("p63", jv1.HealthState_HEALTH_STATE_HEALTHY, 0)
		r.commit(store.Put(store.ServiceKey("chat"), svc))
		r.books(book("s", doing(given(switchTo("any"), `health["p63"] == "HEALTHY"`))))
		r.fails("a", 1)
		synctest.Wait()
		want(t, r.only(), succeeded)
		if s := r.state(); s.GetActiveProvider() != "p63" {
			t.Errorf("state %v, of %v", s, names)
		}
	})
}
