// Package api serves the API of Jurymast: gRPC, and the same as JSON over HTTP with streams as server-sent events.
//
// A handler checks what the proto's own rules can't, calls the part that knows, and replies. All that is the same for
// every method happens around it, once: panics, authentication and roles, validation, deadlines, logs and metrics, and
// the translation of errors into canonical codes with details.
//
// It promises that a malformed request is refused with the place of the mistake and changes nothing; that reads answer
// from the last known state while the store is away, and say so (`jurymast-as-of`, `jurymast-live`), and that writes are
// then refused with UNAVAILABLE and a hint when to try again; that every change is stored together with its audit event;
// that a watch shows every state that lasts, in order, or says RESET.
//
// It never shows a panic, a stack or an internal error's text to a client, and never decides anything about health, runs
// or routes: those are the business of detect, engine and continuity.
//
// JSON uses the proto's field names, so that it reads like the YAML files, and contains fields that hold their default
// value; absent messages are left out. 64-bit integers are strings, as protojson has it.
package api
