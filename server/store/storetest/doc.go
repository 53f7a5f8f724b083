// Package storetest holds what tests of the store and of its users need: a conformance suite that every
// [store.Backend] passes, a backend with faults, and the floor T that benchmarks are measured against.
//
// It promises that its faults are those of real stores: a fault never shows a state that etcd could not be in. It
// works inside testing/synctest bubbles with [store.Memory]. It never belongs into production code.
package storetest
