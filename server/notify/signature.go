package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// secretPrefix begins a signing secret (Standard Webhooks 1.0.0, "Signature scheme").
const secretPrefix = "whsec_"

// errSecretForm says that a signing secret can't be used; it never holds the secret.
var errSecretForm = errors.New("the signing secret must be whsec_ followed by base64; several are separated by blanks")

// signingKeys reads a signing secret. Several, separated by blanks, all sign: the way to change a secret without a gap.
func signingKeys(secret string) ([][]byte, error) {
	var keys [][]byte
	for part := range strings.FieldsSeq(secret) {
		encoded, ok := strings.CutPrefix(part, secretPrefix)
		if !ok {
			return nil, errSecretForm
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) == 0 {
			return nil, errSecretForm
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errSecretForm
	}
	return keys, nil
}

// sign returns the webhook-signature header: one `v1,<base64>` for each key, over `id.timestamp.body`.
func sign(keys [][]byte, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
