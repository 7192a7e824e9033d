package consumer

import (
	"errors"
	"fmt"
	"strings"
)

// A StreamError says why a stream will not do, and what to do.
type StreamError struct {
	Stream, Problem, Remedy string
}

func (e *StreamError) Error() string {
	return fmt.Sprintf("consumer: stream %s %s: %s", e.Stream, e.Problem, e.Remedy)
}

// A SettingsError says that the consumer of a partition exists and is not ours, or was
// made with other options that cannot be changed without losing messages.
type SettingsError struct {
	Stream, Consumer, Partition string
	Wrong                       []string // "filter is a, must be b"
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("consumer: %s of stream %s, for partition %s, has wrong settings: %s; "+
		"changing them would skip or repeat messages: take the subject and options it was made with, or remove it (`nats consumer rm %s %s`) and let the partition begin anew",
		e.Consumer, e.Stream, e.Partition, strings.Join(e.Wrong, ", "), e.Stream, e.Consumer)
}

// errProvisionOnly is the error of Run where nothing is to run.
var errProvisionOnly = errors.New("consumer: it was made with ProvisionOnly, and is given a partition to run: leave the option out")

// errUnproven ends the work on a message whose lease is over, or cannot be proved.
var errUnproven = errors.New("consumer: ownership cannot be proved, and nothing is said of the message: it comes to the next owner")
