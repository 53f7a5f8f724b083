package store

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTreeIsAnOrderedMapWithVersions applies random edits and compares every version ever made with a plain map, also
// after later versions were made from it.
func TestTreeIsAnOrderedMapWithVersions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[abc]{1,4}`)
		trees, models := []tree[int]{{}}, []map[string]int{{}}
		for range rapid.IntRange(1, 12).Draw(t, "versions") {
			from := rapid.IntRange(0, len(trees)-1).Draw(t, "from")
			e, model := trees[from].edit(), maps.Clone(models[from])
			for range rapid.IntRange(0, 12).Draw(t, "edits") {
				k := key.Draw(t, "key")
				if rapid.Bool().Draw(t, "remove") {
					e.remove(k)
					delete(model, k)
				} else {
					v := rapid.Int().Draw(t, "value")
					e.put(k, v)
					model[k] = v
				}
			}
			trees, models = append(trees, e.done()), append(models, model)
			for i := range trees {
				checkTree(t, trees[i], models[i], key.Draw(t, "bound"))
			}
		}
	})
}

func checkTree(t *rapid.T, tr tree[int], model map[string]int, bound string) {
	keys := slices.Sorted(maps.Keys(model))
	if tr.size != len(keys) {
		t.Fatalf("size %d, want %d", tr.size, len(keys))
	}
	for k, want := range model {
		if got, ok := tr.get(k); !ok || got != want {
			t.Fatalf("get %q: %d, %v, want %d", k, got, ok, want)
		}
	}
	if _, ok := tr.get(bound); ok != slices.Contains(keys, bound) {
		t.Fatalf("get %q: %v", bound, ok)
	}
	collect := func(walk func(func(string, int) bool)) (got []string) {
		walk(func(k string, v int) bool {
			if v != model[k] {
				t.Fatalf("%q is %d, want %d", k, v, model[k])
			}
			got = append(got, k)
			return len(got) < 5
		})
		return got
	}
	five := func(keys []string) []string { return keys[:min(5, len(keys))] }
	at, _ := slices.BinarySearch(keys, bound)
	want := five(keys[at:])
	if got := collect(func(f func(string, int) bool) { tr.ascend(bound, f) }); !slices.Equal(got, want) {
		t.Fatalf("ascend from %q: %v, want %v", bound, got, want)
	}
	want = slices.Clone(keys[:at])
	slices.Reverse(want)
	if got := collect(func(f func(string, int) bool) { tr.descend(bound, f) }); !slices.Equal(got, five(want)) {
		t.Fatalf("descend from %q: %v, want %v", bound, got, want)
	}
	want = nil
	for _, k := range keys {
		if strings.HasPrefix(k, bound[:1]) {
			want = append(want, k)
		}
	}
	if got := collect(func(f func(string, int) bool) { tr.prefixed(bound[:1], f) }); !slices.Equal(got, five(want)) {
		t.Fatalf("under %q: %v, want %v", bound[:1], got, want)
	}
}

// TestTreeStaysShallow: keys often come in their order, as ids that sort by time do.
func TestTreeStaysShallow(t *testing.T) {
	const n = 20_000
	e := tree[int]{}.edit()
	for i := range n {
		e.put(key(Runs, padded(int64(i))), i)
	}
	if d := depth(e.done().root); d > 60 { // about 2 ln n = 20 on average; 60 never happens by chance
		t.Errorf("depth %d with %d keys", d, n)
	}
}

func depth(n *node[int]) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}

func TestAfterPrefix(t *testing.T) {
	for prefix, want := range map[string]string{"a": "b", "a/": "a0", "a\xff": "b", "\xff\xff": "", "": ""} {
		if got := afterPrefix(prefix); got != want {
			t.Errorf("after %q: %q, want %q", prefix, got, want)
		}
	}
}

// TestMirroredSegmentsLeaveOutWhatIsNotMirrored: every family is listed exactly when it is mirrored.
func TestMirroredSegmentsLeaveOutWhatIsNotMirrored(t *testing.T) {
	for prefix, f := range families {
		listed := 0
		for _, s := range mirroredSegments() {
			if k := prefix + "x"; k >= s.from && k < s.before {
				listed++
			}
		}
		if want := map[bool]int{true: 1, false: 0}[f.mirrored]; listed != want {
			t.Errorf("%s is listed %d times, want %d", prefix, listed, want)
		}
		if got, ok := familyOf(prefix + "x/y"); !ok || got.mirrored != f.mirrored {
			t.Errorf("family of a key in %s: %v, %v", prefix, got.mirrored, ok)
		}
	}
	for _, key := range []string{Root + "unknown/x", Root + "runs", Root, "/jurymast/v2/runs/x"} {
		if _, ok := familyOf(key); ok {
			t.Errorf("%q has a family", key)
		}
	}
}
