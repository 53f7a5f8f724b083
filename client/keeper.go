package client

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// refreshEvery is how often the age in the cache is brought up to date while nothing changes. After a restart an
// answer looks older by this much at most.
const refreshEvery = time.Minute

// keeper keeps the cache on disk up to date. Without a directory it does nothing.
type keeper struct {
	dir  string
	wake chan struct{}

	mu  sync.Mutex
	err error
}

func (k *keeper) changed() { nudge(k.wake) }

func (k *keeper) setError(err error) (before error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, k.err = k.err, err
	return before
}

func (k *keeper) lastError() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// restore takes what the disk holds, before the client starts.
func (c *Client) restore() {
	if c.keeper.dir == "" {
		return
	}
	sweepTemporary(c.keeper.dir)
	entries, err := readCache(c.keeper.dir, c.o.Now())
	if err != nil {
		c.log.Error("the cache is refused; without a server nothing will be known", "error", err)
		_ = c.keeper.setError(err)
		if err := setAside(c.keeper.dir); err != nil {
			c.log.Error("can't set the refused cache aside", "error", err)
		}
		return
	}
	for _, service := range sortedKeys(entries) {
		if len(c.o.Services) > 0 && !slices.Contains(c.o.Services, service) {
			continue
		}
		c.entries.Store(service, entries[service])
		c.teller.changed(service)
	}
}

// keep writes the cache after changes until ctx ends, and once more then.
func (c *Client) keep(ctx context.Context) {
	if c.keeper.dir == "" {
		return
	}
	refresh := time.NewTicker(refreshEvery)
	defer refresh.Stop()
	saved := c.link.Load().heard
	for {
		select {
		case <-ctx.Done():
			c.save()
			return
		case <-refresh.C:
			if c.link.Load().heard.Equal(saved) && c.keeper.lastError() == nil {
				continue
			}
		case <-c.keeper.wake:
		}
		saved = c.link.Load().heard
		c.save()
	}
}

func (c *Client) save() {
	data, err := encodeCache(c.known(), c.link.Load(), c.o.Now())
	if err == nil {
		err = writeCache(c.keeper.dir, data)
	}
	switch before := c.keeper.setError(err); {
	case err != nil && before == nil:
		c.log.Error("the cache can't be written; a restart without a server would know only what it holds", "error", err)
	case err == nil && before != nil:
		c.log.Info("the cache is written again")
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
