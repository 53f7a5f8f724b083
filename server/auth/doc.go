// Package auth says who a caller is and what it may do.
//
// A caller is a principal with one of three roles. It proves itself by a bearer token, of which only the SHA-256 hash is
// stored, or by a client certificate. Which role a method needs stands in one table, [Rules]; a method that is not in
// it is refused. Who the principals are stands in a file that is read again when it changes, and so do certificates.
//
// The file of principals is YAML:
//
//	principals:
//	- {name: alice, role: operator, token_sha256: 9f86d081...}    # sha256sum of the token
//	- {name: gateway-1, role: viewer, cert_uri: spiffe://example.org/gateway-1}
//	- {name: deploy, role: admin, cert_cn: deploy.example.org}
//
// A token must be long and random, e.g. 32 bytes of chance: then its plain hash gives nothing away, and a slow hash would
// only slow every call down.
//
// It promises that a listener which others can reach does not open without encryption and authentication, unless the
// operator insists; that an unreadable new file leaves the last good one in force; that tokens are compared in constant
// time and never logged.
//
// It never stores a secret, never asks the network, and never guesses: what it can't recognise is nobody.
package auth
