package consumer

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// An Option changes what [NewDurable] and [NewCursor] make. Some are for one of them
// only, and say so; the other refuses them. A nil Option is ignored.
type Option func(*options)

type options struct {
	inFlight   int
	perWorker  int
	ackWait    time.Duration
	timeout    time.Duration
	backOff    []time.Duration
	maxDeliver int
	dead       string
	start      Start
	expiry     time.Duration
	batch      int
	create     bool
	provision  bool
	wrap       []func(Func) Func
	observe    func(Trouble)

	every  time.Duration
	bucket string

	notDurable, notCursor []string // options given that are not for it
}

// The ways to consume, by what makes them.
const (
	wayDurable = "NewDurable"
	wayCursor  = "NewCursor"
)

func defaults(way string) options {
	batch := 64
	if way == wayCursor {
		batch = 500
	}
	return options{
		batch: batch, inFlight: 1, ackWait: 30 * time.Second, start: FromFirst(), expiry: 5 * time.Second, create: true,
		backOff: []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute},
		observe: func(Trouble) {}, every: time.Second,
	}
}

// InFlight is how many messages of one partition may be in hand at once. With more than
// one, order within the partition is lost: while one fails, or takes long, others pass it.
// In a Cursor, that one and those after it that are in hand or done may be InFlight + 256;
// then the partition waits for it. Default: 1. Range: 1 to 1000.
func InFlight(n int) Option { return func(o *options) { o.inFlight = n } }

// InFlightPerWorker bounds how many messages this process has in hand at once, of all
// partitions together; the others wait for their turn. Default, and 0: no bound.
// Range: 0 to 1 000 000.
func InFlightPerWorker(n int) Option { return func(o *options) { o.perWorker = n } }

// AckWait is after how long without a sign of life the server gives a message out
// again. While the function works, or the message waits for it, signs of life are sent by
// themselves, every third of it, so that it need not be as long as the longest work. A
// partition's next owner does not wait for it, but through a JetStream domain or another API
// prefix. For NewDurable. Default: 30 s. Range: 1 s to 1 h.
func AckWait(d time.Duration) Option {
	return func(o *options) { o.ackWait, o.notCursor = d, append(o.notCursor, "AckWait") }
}

// CursorEvery is how often the cursor of a partition that is at work is written: what its
// owner has done since is repeated when it is lost. 0 writes it after each message, before
// the next one. For NewCursor. Default: 1 s. Range: 0, or 10 ms to 1 min.
func CursorEvery(d time.Duration) Option {
	return func(o *options) { o.every, o.notDurable = d, append(o.notDurable, "CursorEvery") }
}

// CursorBucket is the key-value bucket that keeps the cursors. Its keys are made of stream
// and partition, so it is for one group, and of each stream for one subject: a partition
// whose cursor is another's fails with a [CursorError]. For NewCursor. Default: that of the
// group's name and -cursors.
func CursorBucket(name string) Option {
	return func(o *options) { o.bucket, o.notDurable = name, append(o.notDurable, "CursorBucket") }
}

// Timeout ends the context of the function after so long; that it has timed out is then
// an error like any other. Default, and 0: only with the lease. Range: 0, or 1 ms to 24 h.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// BackOff is how long to wait before a failed message is tried again: after the first
// failure the first of them, and so on; the last one stays. The partition waits
// meanwhile, unless more than one message is in flight. Default: 100 ms, 1 s, 10 s, 1 min.
// Range of each: 0 to 24 h.
func BackOff(ds ...time.Duration) Option { return func(o *options) { o.backOff = ds } }

// DeadLetter is the subject to which messages go that cannot be processed, with the
// headers that they came with and those of [HeaderReason] and so on; not with those that
// say to a stream what to do, such as Nats-Msg-Id. A stream must take it: a message is
// done here only once it is stored there. It should not have interest retention: such a
// stream drops what nobody consumes, and says that it has stored it. A message that is too
// large with these headers for the server or that stream goes there without its data, and with
// [HeaderDropped]: the headers tell where the stream that it came from has it, if that keeps
// messages. Without a subject, such messages are tried again for ever, and the partition
// waits. Whether it is permitted to publish there is seen beforehand, by a message without
// data that no stream takes: who subscribes to the subject without a stream gets it.
// Default: none.
func DeadLetter(subject string) Option { return func(o *options) { o.dead = subject } }

// MaxDeliver is how many tries a message has: one whose n-th delivery fails goes to the
// DeadLetter subject, which must be set. With NewDurable, deliveries that were given back
// untried count as well, as when the partition moved. A message that kills its process
// leaves no error: NewDurable buries it unrun when it is given out for more than 2n + 3
// times, and NewCursor after n tries that were written down, once the partition has lost
// more than two owners in a row without getting on. An error that is [parti.ErrFenced]
// counts for none of this under the same lease, unless it comes again and again: see [Func].
// Default, and 0: any number. Range: 0 to 1 000 000.
func MaxDeliver(n int) Option { return func(o *options) { o.maxDeliver = n } }

// StartAt is where a partition begins that never had a consumer. It says nothing about
// one that had. With interest retention the server drops what is published for a partition
// before its consumer is there, wherever that begins: see [Durable.Provision].
// Default: [FromFirst].
func StartAt(s Start) Option { return func(o *options) { o.start = s } }

// PullExpiry is how long one request for messages stays with the server. An idle
// partition, or reader of a Cursor, makes one in that time. It should be shorter than it takes until a frozen
// process is declared lost, which is 6 s or more by default: what is given to a frozen
// process's request comes to the next owner only after that has expired.
// Default: 5 s. Range: 2 s to 1 min.
func PullExpiry(d time.Duration) Option { return func(o *options) { o.expiry = d } }

// PullBatch is how many messages one request to the server asks for, up to 8 MiB, or two of
// the largest that the server takes, and to what its max_request_batch allows. A Durable is
// never given more than may be in flight, whatever it asks for; a reader of a Cursor asks
// again when half of them have come, and holds no more in memory before they are handed to
// their partitions. Default: 64 (NewDurable), 500 (NewCursor). Range: 1 to 10 000.
func PullBatch(n int) Option { return func(o *options) { o.batch = n } }

// WithoutCreate lets a partition fail whose consumer was not made by [Durable.Provision],
// and [NewCursor] fail if the bucket is not there, for workers that are not permitted to
// make any.
func WithoutCreate() Option { return func(o *options) { o.create = false } }

// ProvisionOnly is for a process that calls Provision, and Sweep, and runs no partition: Run
// is an error, and the permissions that are checked are those that it needs for that. It
// excludes WithoutCreate.
func ProvisionOnly() Option { return func(o *options) { o.provision = true } }

// Use wraps the function: the first wraps all others. One that is nil is ignored.
func Use(wrap ...func(Func) Func) Option {
	return func(o *options) {
		for _, w := range wrap {
			if w != nil {
				o.wrap = append(o.wrap, w)
			}
		}
	}
}

// Observe is told of what goes wrong, on the goroutine where it does, and so by several at
// once. It must not wait. A panic of f is recovered, and f is told of it, once. Of several
// Observe the last counts, and nil means none. Default: none.
func Observe(f func(Trouble)) Option {
	return func(o *options) {
		if o.observe = func(Trouble) {}; f != nil {
			o.observe = func(x Trouble) { tell(f, x) }
		}
	}
}

// tell tells f, whatever it does.
func tell(f func(Trouble), x Trouble) {
	defer func() {
		if p := recover(); p != nil {
			defer func() { _ = recover() }() // there is nobody else to tell
			f(Trouble{Partition: x.Partition, Err: fmt.Errorf("consumer: the function of Observe has panicked, %v, when it was told of this: %w\n%s", p, x.Err, debug.Stack())})
		}
	}()
	f(x)
}

// A Trouble is something that went wrong, most often with a message. Err is the function's
// own, or says what could not be done with the message: then it is tried again.
type Trouble struct {
	Partition string // empty: of several, such as those of a Cursor's reader
	Subject   string // empty: it is of no single message, and Sequence is 0
	Sequence  uint64 // in the stream
	Tries     int
	Dead      bool // it has gone to the dead-letter subject
	Err       error
}

// Start is where a partition begins.
type Start struct {
	kind startKind
	at   time.Time
}

type startKind uint8

const (
	startFirst startKind = iota
	startNew
	startTime
)

// FromFirst begins with the first message that the stream still has.
func FromFirst() Start { return Start{} }

// FromNew begins with the first message that comes after the consumer was made, or the
// partition was owned for the first time. So it skips what comes between the listing of a
// partition and its first owner: never use it with source.Subjects, which lists a partition
// since it has a message. Not for work queues, which have no such consumers.
func FromNew() Start { return Start{kind: startNew} }

// FromTime begins with the first message stored at t or later. Not for work queues.
func FromTime(t time.Time) Start { return Start{kind: startTime, at: t} }

// An OptionError is one option that will not do, such as one outside its range. All that
// are wrong are returned at once, joined.
type OptionError struct {
	Option string
	Value  string // empty: it is not about that
	Want   string // what to do
}

func (e *OptionError) Error() string {
	if e.Value == "" {
		return "consumer: " + e.Option + " " + e.Want
	}
	return fmt.Sprintf("consumer: %s(%s): %s", e.Option, e.Value, e.Want)
}

// check says which options are out of range, exclude each other, or are not for the way
// that they were given to.
func (o *options) check(way string) error {
	no := o.notDurable
	if way == wayCursor {
		no = o.notCursor
	}
	var errs []error
	for _, option := range slices.Compact(no) {
		errs = append(errs, &OptionError{Option: option, Want: "is not an option of " + way + ": leave it out"})
	}
	bad := func(ok bool, option string, value any, want string) error {
		if ok {
			return nil
		}
		return &OptionError{Option: option, Value: fmt.Sprint(value), Want: "use " + want}
	}
	errs = append(
		errs,
		bad(o.inFlight >= 1 && o.inFlight <= 1000, "InFlight", o.inFlight, "1 to 1000"),
		bad(o.perWorker >= 0 && o.perWorker <= 1_000_000, "InFlightPerWorker", o.perWorker, "0 to 1000000"),
		bad(o.ackWait >= time.Second && o.ackWait <= time.Hour, "AckWait", o.ackWait, "1s to 1h"),
		bad(o.timeout == 0 || o.timeout >= time.Millisecond && o.timeout <= 24*time.Hour, "Timeout", o.timeout, "0, or 1ms to 24h"),
		bad(o.maxDeliver >= 0 && o.maxDeliver <= 1_000_000, "MaxDeliver", o.maxDeliver, "0 to 1000000"),
		bad(o.maxDeliver == 0 || o.dead != "", "MaxDeliver", o.maxDeliver, "DeadLetter as well: a message must not vanish"),
		bad(o.expiry >= 2*time.Second && o.expiry <= time.Minute, "PullExpiry", o.expiry, "2s to 1m"),
		bad(o.batch >= 1 && o.batch <= 10_000, "PullBatch", o.batch, "1 to 10000"),
		bad(o.every == 0 || o.every >= 10*time.Millisecond && o.every <= time.Minute, "CursorEvery", o.every, "0, or 10ms to 1m"),
		bad(o.bucket == "" || groupName.MatchString(o.bucket), "CursorBucket", o.bucket, "letters, digits, - and _"),
	)
	if o.provision && !o.create {
		errs = append(errs, &OptionError{Option: "ProvisionOnly", Want: "and WithoutCreate exclude each other: leave one out"})
	}
	if len(o.backOff) == 0 {
		errs = append(errs, &OptionError{Option: "BackOff", Want: "needs a time: give one or more, or leave it out"})
	}
	for _, d := range o.backOff {
		errs = append(errs, bad(d >= 0 && d <= 24*time.Hour, "BackOff", d, "0 to 24h"))
	}
	return errors.Join(errs...)
}

// pause is how long to wait after so many tries.
func (o *options) pause(tries int) time.Duration {
	return o.backOff[min(max(tries, 1), len(o.backOff))-1]
}
