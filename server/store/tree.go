package store

import (
	"math/rand/v2"
	"strings"
)

// tree is an ordered map from keys to values whose versions are immutable: an [editor] makes the next version and
// shares with the last one what did not change, so that a reader keeps its picture without a lock. The zero tree is
// empty. It is a treap: the priorities are random, which keeps it balanced whatever the order of the keys.
type tree[V any] struct {
	root *node[V]
	size int
}

// token tells the nodes of one editor from all others. It is not empty, so that every token has its own address, and
// it refers to nothing, so that a node that lives on doesn't keep the rest of its version alive.
type token struct{ _ byte }

type node[V any] struct {
	key         string
	value       V
	left, right *node[V]
	priority    uint32
	maker       *token
}

// get returns the value of a key.
func (t tree[V]) get(key string) (value V, ok bool) {
	for n := t.root; n != nil; {
		switch c := strings.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return value, false
}

// ascend calls f with the keys from "from" on, in order, until f returns false.
func (t tree[V]) ascend(from string, f func(key string, value V) bool) {
	t.root.ascend(from, f)
}

func (n *node[V]) ascend(from string, f func(string, V) bool) bool {
	if n == nil {
		return true
	}
	if n.key >= from {
		if !n.left.ascend(from, f) || !f(n.key, n.value) {
			return false
		}
	}
	return n.right.ascend(from, f)
}

// descend calls f with the keys below "before" (all when empty), in reverse order, until f returns false.
func (t tree[V]) descend(before string, f func(key string, value V) bool) {
	t.root.descend(before, f)
}

func (n *node[V]) descend(before string, f func(string, V) bool) bool {
	if n == nil {
		return true
	}
	if before == "" || n.key < before {
		if !n.right.descend(before, f) || !f(n.key, n.value) {
			return false
		}
	}
	return n.left.descend(before, f)
}

// prefixed calls f with the keys that begin with prefix, in order, until f returns false.
func (t tree[V]) prefixed(prefix string, f func(key string, value V) bool) {
	t.ascend(prefix, func(key string, value V) bool {
		return strings.HasPrefix(key, prefix) && f(key, value)
	})
}

// editor makes the next version of a tree. It changes only nodes that it made itself; use it once and by one goroutine.
type editor[V any] struct {
	tree[V]
	token *token
}

func (t tree[V]) edit() *editor[V] { return &editor[V]{tree: t, token: new(token)} }

// done returns the new version. The editor must not be used after it.
func (e *editor[V]) done() tree[V] { return e.tree }

// put sets the value of a key.
func (e *editor[V]) put(key string, value V) { e.root = e.putBelow(e.root, key, value) }

func (e *editor[V]) putBelow(n *node[V], key string, value V) *node[V] {
	if n == nil {
		e.size++
		return &node[V]{key: key, value: value, priority: rand.Uint32(), maker: e.token}
	}
	n = e.own(n)
	switch c := strings.Compare(key, n.key); {
	case c < 0:
		n.left = e.putBelow(n.left, key, value)
		if up := n.left; up.priority > n.priority {
			n.left, up.right = up.right, n
			return up
		}
	case c > 0:
		n.right = e.putBelow(n.right, key, value)
		if up := n.right; up.priority > n.priority {
			n.right, up.left = up.left, n
			return up
		}
	default:
		n.value = value
	}
	return n
}

// remove deletes a key if it is there.
func (e *editor[V]) remove(key string) {
	if _, ok := e.get(key); !ok {
		return
	}
	e.size--
	e.root = e.removeBelow(e.root, key)
}

func (e *editor[V]) removeBelow(n *node[V], key string) *node[V] {
	c := strings.Compare(key, n.key)
	if c == 0 {
		return e.merge(n.left, n.right)
	}
	n = e.own(n)
	if c < 0 {
		n.left = e.removeBelow(n.left, key)
	} else {
		n.right = e.removeBelow(n.right, key)
	}
	return n
}

// merge joins two trees; all keys of a come before those of b.
func (e *editor[V]) merge(a, b *node[V]) *node[V] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		a = e.own(a)
		a.right = e.merge(a.right, b)
		return a
	default:
		b = e.own(b)
		b.left = e.merge(a, b.left)
		return b
	}
}

// own returns a node that this editor may change.
func (e *editor[V]) own(n *node[V]) *node[V] {
	if n.maker == e.token {
		return n
	}
	c := *n
	c.maker = e.token
	return &c
}
