package store

import "testing"

func TestJudgePlace(t *testing.T) {
	const first, again, later = "000000000000005-aaaa", "000000000000005-bbbb", "000000000000009-cccc"
	seen := place{epoch: first, revision: 100, cluster: 7, term: 4}
	for name, c := range map[string]struct {
		seen, found place
		want        Regression
	}{
		"nothing was seen":                   {place{}, place{epoch: first, home: 7, revision: 3, cluster: 7}, ""},
		"a new store":                        {place{}, place{revision: 1, cluster: 7}, ""},
		"it goes on":                         {seen, place{epoch: first, home: 7, revision: 101, cluster: 7, term: 4}, ""},
		"nothing happened":                   {seen, place{epoch: first, home: 7, revision: 100, cluster: 7, term: 5}, ""},
		"a human confirmed":                  {seen, place{epoch: later, home: 8, revision: 3, cluster: 8, term: 1}, ""},
		"an earlier life":                    {place{epoch: later, revision: 3}, place{epoch: first, revision: 900}, RegressionOlderEpoch},
		"the same backup, confirmed twice":   {seen, place{epoch: again, home: 7, revision: 101, cluster: 7}, RegressionForeignEpoch},
		"a lower revision":                   {seen, place{epoch: first, home: 7, revision: 99, cluster: 7, term: 9}, RegressionOlderRevision},
		"another cluster":                    {seen, place{epoch: first, home: 8, revision: 500, cluster: 8}, RegressionForeignCluster},
		"another cluster than the record's":  {place{}, place{epoch: first, home: 7, revision: 500, cluster: 8}, RegressionForeignCluster},
		"confirmed, then restored elsewhere": {seen, place{epoch: later, home: 8, revision: 500, cluster: 9}, RegressionForeignCluster},
		"everything is gone":                 {seen, place{revision: 1, cluster: 9}, RegressionNoEpoch},
		"a store of an older version":        {seen, place{epoch: first, revision: 101}, ""},
	} {
		if got := judgePlace(c.seen, c.found); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if c.want != "" && c.want.words(c.seen, c.found) == string(c.want) {
			t.Errorf("%s has no words", c.want)
		}
	}
	term := place{epoch: first, home: 7, revision: 500, cluster: 7, term: 3}
	if got := judgeAtStart(seen, term); got != RegressionOlderTerm {
		t.Errorf("a lower term at the start: %q", got)
	}
	if got := judgePlace(seen, term); got != "" {
		t.Errorf("a lower term on the way: %q", got)
	}
}
