package run

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"

	"github.com/parti-go/parti"
)

// GuardianWord is the command by which this program is a guardian; see [Guard].
const GuardianWord = "guardian"

// ErrUnsupported says that this system cannot run commands so that none is left behind.
var ErrUnsupported = errors.New("it needs process groups and passed files: Linux, macOS or another Unix")

// Options are what [Run] needs.
type Options struct {
	Group  string
	Store  parti.Store
	Source parti.PartitionSource // nil: this worker never leads
	Config parti.Config

	// Command is the program and its arguments; see the help of "parti run" for what is
	// replaced in these.
	Command []string
	// DoneOnSuccess takes exit code 0 for the end of the partition's work.
	DoneOnSuccess bool
	// RejectCode is an exit code by which a command gives its partition to another
	// worker. 0: there is none.
	RejectCode int

	// Out gets what commands write, Err what they complain, and events.
	Out, Err io.Writer
	// OutStyle and ErrStyle say how that looks. JSON in ErrStyle counts for events, too.
	OutStyle, ErrStyle Style

	talk *talk
}

// Say tells of an event before [Run] does. Close is needed then.
func (o *Options) Say(event, text string) { o.telling().say(record{Event: event, Text: text}) }

// Logger tells of what is logged at Warn or above as such events. Close is needed then.
func (o *Options) Logger() *slog.Logger { return slog.New(&warnings{talk: o.telling()}) }

// Close waits, for a moment, until all was told.
func (o *Options) Close() {
	if o.talk != nil {
		o.talk.close()
	}
}

func (o *Options) telling() *talk {
	if o.talk == nil {
		o.talk = newTalk(o.Out, o.Err, o.ErrStyle)
	}
	return o.talk
}

// Look finds a command's program as a shell would.
func Look(command []string) (path string, err error) {
	if len(command) == 0 || command[0] == "" {
		return "", errors.New("no command is given")
	}
	path, err = exec.LookPath(command[0])
	if err != nil {
		return "", fmt.Errorf("no program to run: %w", err)
	}
	return path, nil
}

// What parti.Config takes where it has zeros.
const (
	defaultTTL       = 15 * time.Second
	defaultHeartbeat = time.Second
	defaultDrain     = 30 * time.Second
	marginPart       = 8 // of the TTL
)

// trustLength is how long a renewal is good for.
func trustLength(c parti.Config) time.Duration {
	ttl := cmp.Or(c.SessionTTL, defaultTTL)
	return ttl - cmp.Or(c.FenceMargin, ttl/marginPart)
}
