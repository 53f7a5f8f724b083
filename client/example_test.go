package client_test

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/jurymast/jurymast/client"
)

// An application asks for the route before every call. With no server anywhere, and nothing in the cache yet, it falls
// back on what it is configured with.
func Example() {
	dir, err := os.MkdirTemp("", "route")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	c, err := client.New(client.Options{
		Addresses: []string{"127.0.0.1:7400"},
		Services:  []string{"chat"},
		CacheDir:  dir,
		Logger:    hclog.NewNullLogger(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	provider := "primary" // what the application would use by itself
	if s, ok := c.State("chat"); ok {
		provider = s.GetActiveProvider()
	}
	fmt.Println("calling", provider)
	// Output: calling primary
}
