// Package campaign attacks whole installations: processes that are killed and paused, networks that fail, disks that fill,
// and what clients see meanwhile. It holds the table of the kinds of faults and the campaigns themselves, which are tests:
// a small share of each runs with every `go test`, the rest behind the build tag `campaign`.
//
// A campaign promises to print its seed, to fail when it did too little to prove anything, and to judge by the guarantees
// of the documentation alone. What processes and networks do between two steps is theirs: a seed repeats the choices of a
// campaign, not the interleaving. It never judges while a fault lasts what is promised only for afterwards.
//
// JURYMAST_SEED sets the seed, JURYMAST_FOR the length of the long campaigns, e.g. 30m.
package campaign
