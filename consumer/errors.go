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

// A CursorError says that the cursor of a partition is that of another group, or was
// written under another subject: who shares it skips the messages that the other has done.
type CursorError struct {
	Bucket, Key, Partition string
	HaveGroup, HaveSubject string // whose cursor it is
	Group, Subject         string // who wanted it
}

func (e *CursorError) Error() string {
	return fmt.Sprintf("consumer: key %s of bucket %s, for partition %s, is the cursor of group %s with subject %s, and this is group %s with subject %s; "+
		"to share it would skip messages: give each a bucket of its own with CursorBucket, or, if the other is no more, delete the key (`nats kv del %s %s`) and let the partition begin anew",
		e.Key, e.Bucket, e.Partition, e.HaveGroup, e.HaveSubject, e.Group, e.Subject, e.Bucket, e.Key)
}

// A fencedError ends a partition whose function says that a later lease has it, for the time
// being: see [believed].
type fencedError struct {
	partition string
	err       error // the function's
}

func (e *fencedError) Error() string {
	return fmt.Sprintf("consumer: the function of partition %s was refused as by a later lease, although ownership can be proved: %v", e.partition, e.err)
}

// Unwrap is what the function has returned, a [parti.ErrFenced].
func (e *fencedError) Unwrap() error { return e.err }

// errProvisionOnly is the error of Run where nothing is to run.
var errProvisionOnly = errors.New("consumer: it was made with ProvisionOnly, and is given a partition to run: leave the option out")

// errUnproven ends the work on a message whose lease is over, or cannot be proved.
var errUnproven = errors.New("consumer: ownership cannot be proved, and nothing is said of the message: it comes to the next owner")
