package store

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"
)

// A stored value is an envelope around a protobuf message: a format byte, the CRC32C of the rest, the message, as it is or
// compressed by DEFLATE (RFC 1951). etcd
// checks its log but not its database against single flipped bits on a single member, hence the checksum.
const (
	formatProto   = 1
	formatDeflate = 2
	headerSize    = 5
	// maxInflated bounds what a compressed record may grow to.
	maxInflated = 16 << 20
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

// Compressor makes the stored form of messages that are kept long and read rarely. It keeps its working memory of about
// 1 MiB, so one should be kept where many are made. The zero value is ready. Not safe for concurrent use.
type Compressor struct{ w *flate.Writer }

// Put is [Put] with the message compressed.
func (c *Compressor) Put(key string, m proto.Message) Op { return Op{Key: key, Value: c.Seal(m)} }

// Seal is [Seal] with the message compressed.
func (c *Compressor) Seal(m proto.Message) []byte {
	plain := Seal(m)[headerSize:]
	out := bytes.NewBuffer(make([]byte, headerSize, headerSize+len(plain)/2))
	if c.w == nil {
		w, err := flate.NewWriter(out, flate.DefaultCompression)
		if err != nil {
			panic(fmt.Sprintf("store: compress %T: %v", m, err)) // only of a level that does not exist
		}
		c.w = w
	} else {
		c.w.Reset(out)
	}
	// Writes into memory don't fail.
	_, _ = c.w.Write(plain)
	_ = c.w.Close()
	value := out.Bytes()
	value[0] = formatDeflate
	binary.BigEndian.PutUint32(value[1:headerSize], crc32.Checksum(value[headerSize:], castagnoli))
	return value
}

// inflate undoes the compression.
func inflate(body []byte) ([]byte, error) {
	r := flate.NewReader(bytes.NewReader(body))
	out, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("inflate: %w", err)
	case len(out) > maxInflated:
		return nil, fmt.Errorf("inflate: more than %d bytes", maxInflated)
	}
	return out, nil
}

// Open fills m from its stored form. It returns ErrForeignRecord for a format this version does not know, and
// ErrCorrupt when the checksum does not match or the message can't be parsed.
func Open(value []byte, m proto.Message) error {
	if len(value) < headerSize {
		return fmt.Errorf("open %T of %d bytes: %w", m, len(value), ErrCorrupt)
	}
	if value[0] != formatProto && value[0] != formatDeflate {
		return fmt.Errorf("open %T in format %d: %w", m, value[0], ErrForeignRecord)
	}
	body := value[headerSize:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(value[1:headerSize]) {
		return fmt.Errorf("open %T: checksum: %w", m, ErrCorrupt)
	}
	if value[0] == formatDeflate {
		var err error
		if body, err = inflate(body); err != nil {
			return fmt.Errorf("open %T: %w: %w", m, ErrCorrupt, err)
		}
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return fmt.Errorf("open %T: %w: %w", m, ErrCorrupt, err)
	}
	return nil
}

// checksum is that of a stored value, sealed or not.
func checksum(value []byte) uint32 { return crc32.Checksum(value, castagnoli) }

// hashed makes a key part of any text.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
