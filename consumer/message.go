package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti"
)

// A Func processes a message. Nil means done. An error means that it is tried again
// after [BackOff], or that it is given up, see [MaxDeliver] and [ErrPermanent]. A panic
// is an error.
//
// An error that is [parti.ErrFenced], such as that of [Msg.Check] or one of package fence,
// says that the lease is over and nothing of the message: it is not given up, nor counted as
// tried as far as this process can help it, and comes to the partition's owner. While
// ownership cannot be proved it is kept until it can, and tried again. If it can be proved,
// and the same is said a second time, Run ends with that error, and begins again after a
// pause if the partition is still owned. Of one message this is believed three times under
// one lease; then the error is like any other. So a message whose row is not there, which
// fence.Rows cannot tell from a later lease, is given up in the end.
//
// ctx ends with the lease's Hard, and after [Timeout]. It does not end when the
// partition is to move: what is in hand is finished.
type Func func(ctx context.Context, m *Msg) error

// ErrPermanent says that no try will help: an error that wraps it sends the message to
// the [DeadLetter] subject at once. Without one it is only tried again.
var ErrPermanent = errors.New("consumer: no try will help")

// A Msg is one message of a partition. It is for the Func that it is given to, until
// that returns. Its methods may be called from several goroutines at once.
//
// Ack, Nak and Term are for a Func that says what becomes of the message before it returns,
// and once: later the error is [ErrSettled]. Where ownership cannot be proved it is that of
// Check, mostly a [parti.ErrFenced]; after any error nothing was said of the message.
type Msg struct {
	Subject string
	Header  nats.Header
	Data    []byte

	// Partition and Token are those of the lease: see [parti.Lease].
	Partition string
	Token     uint64

	Stream   string
	Sequence uint64    // in the stream
	Stored   time.Time // when the stream took it
	// Tries counts how often the message was given out, this time included; not those times
	// under this lease for which the Func returned [parti.ErrFenced] and was believed.
	Tries int

	lease parti.Lease
	msg   settler
	reply string // where the server is told of it

	mu      sync.Mutex
	begun   bool
	settled bool
}

// A settler carries out what is said of a message.
type settler interface {
	Ack() error
	NakWithDelay(delay time.Duration) error
	TermWithReason(reason string) error
	InProgress() error
}

// ErrSettled says that a message was acknowledged, given back or ended before.
var ErrSettled = errors.New("consumer: the message is settled already")

// Check is that of the lease: nil while ownership is provable now. Call it right before
// an effect outside.
func (m *Msg) Check() error { return m.lease.Check() }

// Ack says before the Func returns that the message is done. What the Func returns
// after it is only reported.
func (m *Msg) Ack() error { return m.settle(m.msg.Ack) }

// Nak gives the message back before the Func returns, to be tried again after delay; 0: at
// once. [BackOff] has no say in it. It is a try all the same, but not one that has failed: a
// Durable buries such a message only as one that kills its process, see [MaxDeliver].
func (m *Msg) Nak(delay time.Duration) error {
	return m.settle(func() error { return m.msg.NakWithDelay(delay) })
}

// Term says before the Func returns that the message is not to be tried again, and not
// to go to the dead-letter subject either.
func (m *Msg) Term(reason string) error {
	return m.settle(func() error { return m.msg.TermWithReason(reason) })
}

// settle does it if nobody has, and the lease still holds.
func (m *Msg) settle(how func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settled {
		return ErrSettled
	}
	if err := m.lease.Check(); err != nil {
		return err
	}
	if err := how(); err != nil {
		return fmt.Errorf("consumer: message %d of %s: %w", m.Sequence, m.Stream, err)
	}
	m.settled = true
	return nil
}

func (m *Msg) isSettled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settled
}

// begin says that work on the message begins.
func (m *Msg) begin() {
	m.mu.Lock()
	m.begun = true
	m.mu.Unlock()
}

// working tells the server every so often that the message is in hand, until stop. Once
// work on it has begun, this takes proof of ownership: one that works for long may be
// another's by now. One that waits for that proof needs none to wait.
func (m *Msg) working(every time.Duration) (stop func()) {
	over := false
	m.mu.Lock()
	defer m.mu.Unlock()
	var t *time.Timer
	t = time.AfterFunc(every, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if over || m.settled {
			return
		}
		if !m.begun || m.lease.Check() == nil {
			_ = m.msg.InProgress() // the next one, or AckWait, makes up for it
		}
		t.Reset(every)
	})
	return func() {
		m.mu.Lock()
		over = true
		m.mu.Unlock()
		t.Stop()
	}
}
