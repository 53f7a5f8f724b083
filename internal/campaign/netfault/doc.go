// Package netfault stands between two ends of TCP connections on loopback and makes the network between them bad:
// refused, held back in both directions or in one, delayed, reset, slow, or cut in the middle.
//
// A proxy promises that what it forwards is forwarded unchanged and in order, and that bytes held back by a fault are
// kept and arrive when it is lifted, as TCP's retransmissions would: a connection ends only where the fault says so. A
// fault can be switched at run time, for everybody or for one source alone.
//
// It never loses single packets, which TCP would hide anyway, and never looks into what it forwards.
package netfault
