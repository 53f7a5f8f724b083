package client_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/client"
	"github.com/jurymast/jurymast/client/clienttest"
)

func followed(b *testing.B, services int) *client.Client {
	b.Helper()
	server := clienttest.New(b)
	for i := range services {
		server.Put(state(fmt.Sprintf("service-%d", i), "primary", 1))
	}
	c, err := client.New(client.Options{Addresses: []string{server.Address()}, Logger: hclog.NewNullLogger()})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	if err := c.WaitLive(b.Context()); err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkState(b *testing.B) {
	c := followed(b, 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.State("service-7"); !ok {
			b.Fatal("unknown")
		}
	}
}

// BenchmarkStateContended reads from every processor while changes come in.
func BenchmarkStateContended(b *testing.B) {
	c := followed(b, 10)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := c.State("service-7"); !ok {
				b.Error("unknown")
			}
		}
	})
}

// BenchmarkChangeToApplication is the way of one change from the server's stream to the application.
func BenchmarkChangeToApplication(b *testing.B) {
	server := clienttest.New(b)
	server.Put(state("chat", "primary", 1))
	told := make(chan int64, 1)
	c, err := client.New(client.Options{
		Addresses: []string{server.Address()}, Logger: hclog.NewNullLogger(), NoReport: true,
		OnChange: func(_ string, s client.State, _ bool) error {
			told <- s.GetEpoch()
			return nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	epoch := <-told
	for b.Loop() {
		epoch++
		server.Put(state("chat", "primary", epoch))
		select {
		case got := <-told:
			if got != epoch {
				b.Fatalf("told of epoch %d, want %d", got, epoch)
			}
		case <-time.After(10 * time.Second):
			b.Fatal("never told")
		}
	}
}
