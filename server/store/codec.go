package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"
)

// A stored value is an envelope around a protobuf message: a format byte, the CRC32C of the rest, the message. etcd
// checks its log but not its database against single flipped bits on a single member, hence the checksum.
const (
	formatProto = 1
	headerSize  = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal returns the stored form of a message. The bytes are the same for equal messages.
func Seal(m proto.Message) []byte {
	out := make([]byte, headerSize, headerSize+proto.Size(m))
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(out, m)
	if err != nil {
		panic(fmt.Sprintf("store: marshal %T: %v", m, err))
	}
	out[0] = formatProto
	binary.BigEndian.PutUint32(out[1:headerSize], crc32.Checksum(out[headerSize:], castagnoli))
	return out
}

// Open fills m from its stored form. It returns ErrForeignRecord for a format this version does not know, and
// ErrCorrupt when the checksum does not match or the message can't be parsed.
func Open(value []byte, m proto.Message) error {
	if len(value) < headerSize {
		return fmt.Errorf("open %T of %d bytes: %w", m, len(value), ErrCorrupt)
	}
	if value[0] != formatProto {
		return fmt.Errorf("open %T in format %d: %w", m, value[0], ErrForeignRecord)
	}
	body := value[headerSize:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(value[1:headerSize]) {
		return fmt.Errorf("open %T: checksum: %w", m, ErrCorrupt)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return fmt.Errorf("open %T: %w: %w", m, ErrCorrupt, err)
	}
	return nil
}

// hashed makes a key part of any text.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
