package auth

import (
	"errors"
	"testing"
)

func TestCheckListen(t *testing.T) {
	open := Guarding{}
	for _, test := range []struct {
		addr string
		g    Guarding
		want error
	}{
		{addr: "127.0.0.1:7400", g: open},
		{addr: "127.8.9.10:0", g: open},
		{addr: "[::1]:7400", g: open},
		{addr: "localhost:7400", g: open},
		{addr: "LocalHost.:7400", g: open},
		{addr: "a.localhost:7400", g: open},
		{addr: ":7400", g: open, want: ErrUnsafeListener},
		{addr: "0.0.0.0:7400", g: open, want: ErrUnsafeListener},
		{addr: "[::]:7400", g: open, want: ErrUnsafeListener},
		{addr: "10.0.0.1:7400", g: open, want: ErrUnsafeListener},
		{addr: "jurymast.example.org:7400", g: open, want: ErrUnsafeListener},
		{addr: "localhost.example.org:7400", g: open, want: ErrUnsafeListener},
		{addr: "[::ffff:127.0.0.1]:7400", g: open},
		{addr: "[fe80::1%lo]:7400", g: open, want: ErrUnsafeListener},
		{addr: "0.0.0.0:7400", g: Guarding{TLS: true}, want: ErrUnsafeListener},
		{addr: "0.0.0.0:7400", g: Guarding{Authentication: true}, want: ErrUnsafeListener},
		{addr: "0.0.0.0:7400", g: Guarding{TLS: true, Authentication: true}},
		{addr: "0.0.0.0:7400", g: Guarding{Insecure: true}},
	} {
		if err := CheckListen(test.addr, test.g); !errors.Is(err, test.want) {
			t.Errorf("CheckListen(%q, %+v) = %v, want %v", test.addr, test.g, err, test.want)
		}
	}
	if err := CheckListen("7400", Guarding{Insecure: true}); err == nil {
		t.Error("an address without a port was taken")
	}
}
