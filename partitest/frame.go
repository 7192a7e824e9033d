package partitest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A frame is one operation of the NATS client protocol, as it stands on the wire.
type frame struct {
	data    []byte
	subject string // of a message; empty: it is none
	reply   string
}

// message reports whether it carries one: PUB, HPUB, MSG or HMSG. The rest keeps the
// connection and its subscriptions going.
func (f frame) message() bool { return f.subject != "" }

// maxFrame is far above what a server takes.
const maxFrame = 128 << 20

var errProtocol = errors.New("not the NATS protocol")

// readFrame reads one operation of the client protocol, whichever side sent it.
// (https://docs.nats.io/reference/reference-protocols/nats-protocol)
func readFrame(r *bufio.Reader) (frame, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return frame{}, err
	}
	if !bytes.HasSuffix(line, []byte("\r\n")) {
		return frame{}, fmt.Errorf("%w: a line without CR: %.40q", errProtocol, line)
	}
	args := bytes.Fields(line)
	if len(args) == 0 {
		return frame{data: line}, nil
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
		return frame{data: line}, nil
	}
	if len(args) != fixed && len(args) != fixed+1 {
		return frame{}, fmt.Errorf("%w: %.80q", errProtocol, line)
	}
	f := frame{subject: string(args[1])}
	if len(args) > fixed {
		f.reply = string(args[replyAt])
	}
	size, err := strconv.Atoi(string(args[len(args)-1]))
	if err != nil || size < 0 || size > maxFrame {
		return frame{}, fmt.Errorf("%w: size in %.80q", errProtocol, line)
	}
	f.data = make([]byte, len(line)+size+len("\r\n"))
	if _, err := io.ReadFull(r, f.data[copy(f.data, line):]); err != nil {
		return frame{}, fmt.Errorf("a message ends too soon: %w", err)
	}
	return f, nil
}

// readChunk reads whatever comes, for connections whose protocol does not matter.
func readChunk(r *bufio.Reader) (frame, error) {
	if _, err := r.Peek(1); err != nil {
		return frame{}, err
	}
	data := make([]byte, r.Buffered())
	_, err := io.ReadFull(r, data)
	return frame{data: data}, err
}
