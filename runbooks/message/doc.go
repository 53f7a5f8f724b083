// Package message renders what people are told: the messages we ship and the text/templates that operators write.
//
// It promises that a template which parses and passes Check renders for every Data, that rendering is bounded in output
// and in work however hostile the template is, that a rehearsal is always marked as one, and that Plain has something to
// say when all else fails. It never does I/O, never reads the environment or a clock, and knows no secrets.
package message
