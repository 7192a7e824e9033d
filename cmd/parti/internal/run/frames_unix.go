//go:build unix

package run

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// An order is what parti tells the guardian.
type order struct {
	Do orderWord `json:"do"`
	ID uint64    `json:"id,omitempty"` // of a command; never used again

	// Of a start. Two files come along: what to write to, and what to complain to.
	Path     string        `json:"path,omitempty"`
	Args     words         `json:"args,omitempty"`     // the first is the program's name
	Env      words         `json:"env,omitempty"`      // besides the guardian's own, which is parti's
	Patience time.Duration `json:"patience,omitempty"` // with what goes on after the first process
	Fenced   bool          `json:"fenced,omitempty"`   // not without trust

	// Of trust, by machineTime. Both only grow.
	TermAt time.Duration `json:"term_at,omitempty"`
	KillAt time.Duration `json:"kill_at,omitempty"`

	files []*os.File
}

// Words are of whatever bytes, as those of a command line are. JSON would put others for what
// is no UTF-8.
type words []string

// MarshalJSON writes the bytes.
func (w words) MarshalJSON() ([]byte, error) {
	all := make([][]byte, len(w))
	for i, one := range w {
		all[i] = []byte(one)
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads them.
func (w *words) UnmarshalJSON(text []byte) error {
	var all [][]byte
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*w = make(words, len(all))
	for i, one := range all {
		(*w)[i] = string(one)
	}
	return nil
}

type orderWord string

const (
	doStart orderWord = "start" // a command
	doTerm  orderWord = "term"  // ask it to end
	doKill  orderWord = "kill"  // end it
	doTrust orderWord = "trust" // from now on, end all at these times unless told others before
)

// A report is what the guardian tells parti.
type report struct {
	Is     reportWord    `json:"is"`
	ID     uint64        `json:"id,omitempty"`
	PID    int           `json:"pid,omitempty"`    // of a started command, and of its process group
	Err    string        `json:"err,omitempty"`    // why it could not be started
	Code   int           `json:"code,omitempty"`   // what it exited with
	Signal int           `json:"signal,omitempty"` // or what killed it
	Why    ending        `json:"why,omitempty"`    // the guardian ended it by itself
	Itself bool          `json:"itself,omitempty"` // its first process had ended before it was asked to
	At     time.Duration `json:"at,omitempty"`     // when nothing was left of it, by machineTime
}

type reportWord string

const (
	isReady   reportWord = "ready"   // to take orders
	isStarted reportWord = "started" // a command runs
	isRefused reportWord = "refused" // it could not be started
	isGone    reportWord = "gone"    // nothing of it is left
)

// An ending is why a guardian ended a command without being told.
type ending string

const (
	endTrust ending = "trust" // it ran out
	endRest  ending = "rest"  // its first process had ended, and others went on for longer than restTime
)

// maxFrame is the most bytes of one message: what the system allows as arguments and
// environment, and more.
const maxFrame = 8 << 20

// oobSpace is room for two files.
var oobSpace = syscall.CmsgSpace(2 * 4)

// writeFrame sends v with files. The files stay open.
func writeFrame(c *net.UnixConn, v any, files ...*os.File) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxFrame {
		return fmt.Errorf("%d bytes of arguments and environment are too many", len(text))
	}
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(text)))
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	// Files come with the head, which is read alone: whose they are is never in doubt.
	if _, _, err := c.WriteMsgUnix(head[:], rights, nil); err != nil {
		return err
	}
	_, err = c.Write(text)
	return err
}

// readFrame takes one message into v. It returns io.EOF when the other end is closed.
func readFrame(c *net.UnixConn, v any) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	var head [4]byte
	oob := make([]byte, oobSpace)
	for got := 0; got < len(head); {
		n, rights, _, _, err := c.ReadMsgUnix(head[got:], oob)
		if rights > 0 {
			more, err := filesOf(oob[:rights])
			if err != nil {
				return files, err
			}
			files = append(files, more...)
		}
		if err != nil {
			return files, err
		}
		if n == 0 {
			return files, io.EOF
		}
		got += n
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return files, fmt.Errorf("a message of %d bytes", size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(c, text); err != nil {
		return files, err
	}
	return files, json.Unmarshal(text, v)
}

// filesOf are the files that came along.
func filesOf(oob []byte) (files []*os.File, err error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// socketPair makes two ends, of which the second is for another process.
func socketPair() (mine *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // nobody inherits them in between
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "guardian's end")
	if mine, err = connOf(os.NewFile(uintptr(fds[0]), "parti's end")); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return mine, theirs, nil
}

// connOf makes a connection of a file, which it closes.
func connOf(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("it is no socket of this machine")
	}
	return u, nil
}
