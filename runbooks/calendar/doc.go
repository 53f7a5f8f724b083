// Package calendar reckons with times that come again: the cron fields of schedules and maintenance windows, in their
// time zone.
//
// It promises that the same input and zone data give the same answer. The machine's data of the IANA database is used, or
// that in the program where the machine has none. A time of the clock that a change of clocks leaves out is the end of the
// gap; one that comes twice is the first of the two. It never reads the clock and never does I/O beyond the zone data.
package calendar
