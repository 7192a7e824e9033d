// Package wire is how Parti's keys and records look in the store.
//
// A record is JSON that people can read with the nats command:
//
//	{"schema":1,"record":{"worker":"worker-7", …}}
//
// Above a threshold it is a zstd frame of that, which begins with a byte that no
// JSON begins with. A record of a newer schema is refused with a [SchemaError],
// anything else that cannot be read with an [UnreadableError]: its content is then
// unknown, which is not the same as empty. Fields that this release does not know
// are ignored: a newer writer of the same schema may add some.
//
// The records of schema 1 are pinned by golden files.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/parti-go/parti/plan"
)

// Schema is the newest schema that this release reads and writes.
const Schema = 1

const (
	// threshold is the size in bytes from which a record is compressed. Sessions and
	// plans of usual size stay readable, slices of hundreds of partitions do not.
	threshold = 4 << 10
	// maxSize bounds what a compressed record may become, against bombs: more
	// than a million partitions in one slice.
	maxSize = 64 << 20
)

// zstdMagic begins every zstd frame.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// A SchemaError refuses a record that was written by a newer release.
type SchemaError struct {
	Key       string
	Have, Max int
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("wire: %s has schema %d, and this release reads up to %d; upgrade this process, or roll the writer back", e.Key, e.Have, e.Max)
}

// An UnreadableError says that a record could not be read, and why.
type UnreadableError struct {
	Key string
	Err error
}

func (e *UnreadableError) Error() string {
	return "wire: " + e.Key + " is unreadable: " + e.Err.Error()
}

// Unwrap is the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// usualStart begins a record as Encode writes it: the quick way in.
var usualStart = fmt.Appendf(nil, `{"schema":%d,"record":`, Schema)

// envelope is around every record.
type envelope struct {
	Schema int `json:"schema"`
	Record any `json:"record"`
}

// Encode writes v as a record of the present schema.
func Encode(v any) ([]byte, error) {
	data, err := json.Marshal(envelope{Schema, v})
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	if len(data) >= threshold {
		return codec.pack(data), nil
	}
	return data, nil
}

// Fingerprint is a hash of controls in that order, to see whether two have read the same.
func Fingerprint(controls []plan.Control) string {
	h := fnv.New64a()
	for _, c := range controls {
		text, err := json.Marshal(c)
		if err != nil {
			text = []byte(err.Error()) // a time that JSON cannot say is another one all the same
		}
		_, _ = h.Write(text) // a hash takes everything
	}
	return strconv.FormatUint(h.Sum64(), 16)
}

// Decode reads the record of that key into what into points to, which must be
// zero. The error is a [SchemaError] or an [UnreadableError]; into is then not to
// be used.
func Decode(key string, data []byte, into any) error {
	if err := decode(key, data, into); err != nil {
		if newer := (*SchemaError)(nil); errors.As(err, &newer) {
			return newer
		}
		return &UnreadableError{key, err}
	}
	return nil
}

func decode(key string, data []byte, into any) error {
	if bytes.HasPrefix(data, zstdMagic) {
		var err error
		if data, err = codec.unpack(data); err != nil {
			return err
		}
	}
	if usual, ok := bytes.CutPrefix(data, usualStart); ok && len(usual) > 1 && usual[0] == '{' {
		// Without the rest of the envelope it is JSON only if the envelope is as
		// Encode writes it, and then into has not been touched.
		var syntax *json.SyntaxError
		if err := json.Unmarshal(usual[:len(usual)-1], into); !errors.As(err, &syntax) && usual[len(usual)-1] == '}' {
			return err
		}
	}
	schema, record, err := open(data)
	switch {
	case err != nil:
		return err
	case schema > Schema:
		return &SchemaError{Key: key, Have: schema, Max: Schema}
	case schema < 1:
		return fmt.Errorf("schema %d", schema)
	case record == nil || bytes.Equal(record, []byte("null")):
		return errors.New("there is no record in it")
	}
	return json.Unmarshal(record, into)
}

// open takes the envelope off. It refuses one that says something twice or is
// followed by anything, for such a one nobody wrote on purpose.
func open(data []byte) (schema int, record json.RawMessage, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return 0, nil, cmpErr(err, "it is not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return 0, nil, err
		}
		field, _ := t.(string)
		if seen[field] {
			return 0, nil, fmt.Errorf("%q is there twice", field)
		}
		seen[field] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return 0, nil, err
		}
		switch field {
		case "schema":
			if err := json.Unmarshal(value, &schema); err != nil {
				return 0, nil, err
			}
		case "record":
			record = value
		}
	}
	if _, err := dec.Token(); err != nil {
		return 0, nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return 0, nil, errors.New("something follows it")
	}
	return schema, record, nil
}

func cmpErr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}

// codec compresses. It is made when the program starts, not on first use: it
// holds channels, and one that was made in a testing/synctest bubble would be of
// no use outside of it.
var codec = newCompressor()

type compressor struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCompressor() compressor {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // the options are constants
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxSize))
	if err != nil {
		panic(err)
	}
	c := compressor{enc, dec}
	c.pack(nil) // makes what is otherwise made on first use
	return c
}

func (c compressor) pack(data []byte) []byte { return c.enc.EncodeAll(data, nil) }

func (c compressor) unpack(data []byte) ([]byte, error) { return c.dec.DecodeAll(data, nil) }
