package notify

import (
	"testing"
	"time"
)

// TestSignAgainstStandardWebhooks uses the vector of the project's own libraries.
func TestSignAgainstStandardWebhooks(t *testing.T) {
	keys, err := signingKeys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
}

func TestSigningKeysRefusesOtherForms(t *testing.T) {
	for _, secret := range []string{"", " ", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_!", "whsec_MfKQ whsk_MfKQ"} {
		if keys, err := signingKeys(secret); err == nil {
			t.Errorf("%q gave %d keys", secret, len(keys))
		}
	}
}
