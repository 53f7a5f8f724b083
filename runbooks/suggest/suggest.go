// Package suggest finds the word that was probably meant where an unknown one was written.
//
// It promises at most one suggestion, and none rather than a far-fetched one. It never does I/O and holds no state.
package suggest

import "strings"

// longest bounds what is compared: nobody misspells a word of this length, and the distance costs length squared.
const longest = 64

// Nearest returns the candidate that is closest to word, when one is close enough to have been meant. The first of
// equally close ones wins. Differences of case and of `-` and `_` count as nothing.
func Nearest(word string, candidates []string) (string, bool) {
	if len(word) > longest {
		return "", false
	}
	plain := normal(word)
	best, bestDistance := "", len(plain)/3+1
	if bestDistance > 3 {
		bestDistance = 3
	}
	found := false
	for _, candidate := range candidates {
		if len(candidate) > longest || candidate == word {
			continue
		}
		if d := distance(plain, normal(candidate)); d < bestDistance || (d == bestDistance && !found) {
			best, bestDistance, found = candidate, d, true
		}
	}
	return best, found
}

// Question returns `, did you mean "x"?` for the nearest candidate, or nothing.
func Question(word string, candidates []string) string {
	if nearest, ok := Nearest(word, candidates); ok {
		return `, did you mean "` + nearest + `"?`
	}
	return ""
}

func normal(word string) string {
	return strings.ReplaceAll(strings.ToLower(word), "-", "_")
}

// distance is the number of letters to insert, remove, replace or swap with their neighbour to make b of a.
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
