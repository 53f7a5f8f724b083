package api

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
)

func checkAll(c *catalog, batch []*declared) []Violation { return nil }

func contentHash(rb *jv1.Runbook) string {
	raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(strip(rb))
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
