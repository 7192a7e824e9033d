// Package frame reads the NATS client protocol, one operation after the other.
package frame

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A Frame is one operation of the NATS client protocol, as it stands on the wire.
type Frame struct {
	Data    []byte
	Subject string // of a message; empty: it is none
	Reply   string
}

// IsMessage reports whether it carries one: PUB, HPUB, MSG or HMSG. The rest keeps the
// connection and its subscriptions going.
func (f Frame) IsMessage() bool { return f.Subject != "" }

// largest is far above what a server takes.
const largest = 128 << 20

var errProtocol = errors.New("not the NATS protocol")

// Read reads one operation of the client protocol, whichever side sent it.
// (https://docs.nats.io/reference/reference-protocols/nats-protocol)
func Read(r *bufio.Reader) (Frame, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return Frame{}, err
	}
	if !bytes.HasSuffix(line, []byte("\r\n")) {
		return Frame{}, fmt.Errorf("%w: a line without CR: %.40q", errProtocol, line)
	}
	args := bytes.Fields(line)
	if len(args) == 0 {
		return Frame{Data: line}, nil
	}
	// PUB <subject> [reply] <size>, HPUB <subject> [reply] <size of headers> <size>;
	// MSG and HMSG have the number of the subscription after the subject.
	var fixed, replyAt int // arguments without the reply, and where that stands
	switch op := bytes.ToUpper(args[0]); string(op) {
	case "PUB":
		fixed, replyAt = 3, 2
	case "HPUB":
		fixed, replyAt = 4, 2
	case "MSG":
		fixed, replyAt = 4, 3
	case "HMSG":
		fixed, replyAt = 5, 3
	default:
		return Frame{Data: line}, nil
	}
	if len(args) != fixed && len(args) != fixed+1 {
		return Frame{}, fmt.Errorf("%w: %.80q", errProtocol, line)
	}
	f := Frame{Subject: string(args[1])}
	if len(args) > fixed {
		f.Reply = string(args[replyAt])
	}
	size, err := strconv.Atoi(string(args[len(args)-1]))
	if err != nil || size < 0 || size > largest {
		return Frame{}, fmt.Errorf("%w: size in %.80q", errProtocol, line)
	}
	f.Data = make([]byte, len(line)+size+len("\r\n"))
	if _, err := io.ReadFull(r, f.Data[copy(f.Data, line):]); err != nil {
		return Frame{}, fmt.Errorf("a message ends too soon: %w", err)
	}
	return f, nil
}

// ReadChunk reads whatever comes, for connections whose protocol does not matter.
func ReadChunk(r *bufio.Reader) (Frame, error) {
	if _, err := r.Peek(1); err != nil {
		return Frame{}, err
	}
	data := make([]byte, r.Buffered())
	_, err := io.ReadFull(r, data)
	return Frame{Data: data}, err
}
