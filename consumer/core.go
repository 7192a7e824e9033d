package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/pattern"
)

// A core is what the two ways to consume a stream have in common.
type core struct {
	js      jetstream.JetStream
	name    string // of the stream
	stream  jetstream.Stream
	group   string
	subject template
	shape   shape
	handle  Func
	opts    options
	slots   chan struct{} // of the worker; nil: no bound
	refused refusals
}

// requestTime is how long one request to the server may take, with its repetitions.
const requestTime = 10 * time.Second

// newCore checks what can be checked without a server, and says all that is wrong. way is the name of the function
// that was called: some options are not for both.
func newCore(js jetstream.JetStream, group, subject string, handle Func, opts []Option, way string) (*core, error) {
	c := &core{js: js, group: group, subject: template(subject), shape: template(subject).shape(), handle: handle, opts: defaults(way)}
	for _, set := range opts {
		if set != nil {
			set(&c.opts)
		}
	}
	wrong := []error{c.subject.check(), c.opts.check(way), c.checkDead()}
	if js == nil {
		wrong = append(wrong, errors.New("consumer: a nil JetStream: give it what jetstream.New returns for a connection"))
	}
	if !groupName.MatchString(group) {
		wrong = append(wrong, fmt.Errorf("consumer: group %q: a name is letters, digits, - and _", group))
	}
	if handle == nil {
		wrong = append(wrong, errors.New("consumer: a nil Func: give one that processes a message"))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	for _, wrap := range slices.Backward(c.opts.wrap) {
		c.handle = wrap(c.handle)
	}
	if c.opts.perWorker > 0 {
		c.slots = make(chan struct{}, c.opts.perWorker)
	}
	return c, nil
}

// look checks the stream.
func (c *core) look(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := errors.Join(c.hears(ctx), c.allowed(ctx, c.api()+"STREAM.INFO."+name)); err != nil {
		return err
	}
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, name) })
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return &StreamError{name, "is not there", "make it first, or see whether its name is right"}
	case err != nil:
		return fmt.Errorf("consumer: look at stream %s: %w", name, err)
	}
	c.name, c.stream = name, s
	cfg := s.CachedInfo().Config
	switch subjects, known := subjectsOf(&cfg); {
	case known && !c.subject.within(subjects):
		return &StreamError{name, fmt.Sprintf("does not have the subjects %s, but %s", c.subject, strings.Join(subjects, ", ")), "give it these as well, or use another subject"}
	case cfg.Retention == jetstream.WorkQueuePolicy && c.opts.start.kind != startFirst:
		return &StreamError{name, "is a work queue, whose consumers begin with the first message", "use consumer.FromFirst(), or a stream with limits retention"}
	case cfg.NoAck:
		return &StreamError{name, "does not acknowledge what is published (NoAck)", "use one that does: messages may be lost before they are stored"}
	}
	return c.lookDead(ctx, name)
}

// subjectsOf are the subjects that a stream's messages have, as far as they are known: not
// where they come from other streams.
func subjectsOf(cfg *jetstream.StreamConfig) (all []string, known bool) {
	if cfg.Mirror != nil || len(cfg.Sources) > 0 {
		return nil, false
	}
	if t := cfg.SubjectTransform; t != nil && t.Destination != "" {
		return append(slices.Clone(cfg.Subjects), pattern.Mapped(t.Destination)), true
	}
	return cfg.Subjects, true
}

// checkDead checks the dead-letter subject as far as that needs no server.
func (c *core) checkDead() error {
	switch {
	case c.opts.dead == "":
	case strings.ContainsAny(c.opts.dead, " *>\t"):
		return &OptionError{Option: "DeadLetter", Value: c.opts.dead, Want: "use a subject without wildcards"}
	case pattern.Within(c.opts.dead, strings.Replace(string(c.subject), placeholder, "*", 1)):
		return &OptionError{Option: "DeadLetter", Value: c.opts.dead, Want: fmt.Sprintf("use a subject that %s does not match, or dead letters come back", c.subject)}
	}
	return nil
}

// lookDead sees whether dead letters are kept, and may be sent.
func (c *core) lookDead(ctx context.Context, name string) error {
	if c.opts.dead == "" {
		return nil
	}
	if err := c.allowed(ctx, c.api()+"STREAM.NAMES"); err != nil {
		return err
	}
	switch err := c.keeps(ctx, c.opts.dead); {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return &StreamError{name, "has dead letters that nobody keeps", fmt.Sprintf("make a stream that takes %s", c.opts.dead)}
	case err != nil:
		return fmt.Errorf("consumer: look for a stream that takes %s: %w", c.opts.dead, err)
	case c.opts.provision: // it buries nothing
		return nil
	}
	m := nats.NewMsg(c.opts.dead)
	m.Header.Set(jetstream.ExpectedStreamHeader, nobody) // so no stream takes it
	m.Header.Set(HeaderReason, "none: a worker of group "+c.group+" begins, and sees whether it may publish here")
	return c.permits(ctx, m)
}

// keeps looks for a stream that takes a subject. In a cluster, a server hears a moment later
// than others of one that was just made.
func (c *core) keeps(ctx context.Context, subject string) error {
	moment := time.Now().Add(toldTime)
	for {
		_, err := ask(ctx, func(ctx context.Context) (string, error) { return c.js.StreamNameBySubject(ctx, subject) })
		if !errors.Is(err, jetstream.ErrStreamNotFound) || c.js.Conn().ConnectedClusterName() == "" || time.Now().After(moment) {
			return err
		}
		if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return err
		}
	}
}

// pullBytes is how much one request for messages asks for at most: a server cuts off a
// client that is behind with reading, by 64 MiB unless its max_pending says otherwise. It
// is more than one message can have, which would never come otherwise.
func (c *core) pullBytes() int {
	const enough = 8 << 20
	return max(enough, 2*int(c.js.Conn().MaxPayload()))
}

// batchOf is how many messages one request to a consumer asks for: no more than it takes, which
// is what the server's max_request_batch says unless somebody has said otherwise. Each request
// for more would be refused, and a client passes over that.
func (c *core) batchOf(cons jetstream.Consumer) int {
	if most := cons.CachedInfo().Config.MaxRequestBatch; most > 0 {
		return min(c.opts.batch, most)
	}
	return c.opts.batch
}

// ask makes a request that may be made twice, and repeats it for as long as ctx allows
// while nobody is there to answer it, as when the stream or the consumer is about to have
// another leader, or when the connection broke meanwhile: then no answer will come.
func ask[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	for wait := tryTime; ; wait *= 2 {
		one, cancel := context.WithTimeout(ctx, wait)
		answer, err := request(one)
		cancel()
		if err == nil || !passing(err) {
			return answer, err
		}
		if pause(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return answer, err
		}
	}
}

// tryTime is how long to wait for an answer before the request is made again.
const tryTime = time.Second

// passing says whether a request that failed so may be answered when it is made again.
func passing(err error) bool {
	for _, e := range []error{nats.ErrNoResponders, nats.ErrTimeout, context.DeadlineExceeded, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == notAvailable
}

// notAvailable is JetStream's error when it has no leader right now.
const notAvailable = 10008

// usual says whether JetStream is where it usually is: elsewhere, acknowledgements go by
// a way that only the server knows, and keys have other subjects.
func usual(js jetstream.JetStream) bool {
	o := js.Options()
	return o.Domain == "" && (o.APIPrefix == "" || o.APIPrefix == "$JS.API." || o.APIPrefix == "$JS.API")
}

// A holding is a partition in the hands of this process.
type holding struct {
	*core
	lease parti.Lease
	turns chan struct{} // one for each message in hand
}

func (c *core) holding(l parti.Lease) holding {
	return holding{core: c, lease: l, turns: make(chan struct{}, c.opts.inFlight)}
}

// begin waits for its turn, and for proof of ownership. It reports false when ctx
// has ended.
func (h *holding) begin(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case h.turns <- struct{}{}:
	}
	if !h.enter(ctx) {
		<-h.turns
		return false
	}
	return true
}

func (h *holding) done() {
	h.exit()
	<-h.turns
}

// enter waits for one of the worker's slots, and for proof of ownership. It reports false
// when ctx has ended.
func (h *holding) enter(ctx context.Context) bool {
	if h.slots != nil {
		select {
		case <-ctx.Done():
			return false
		case h.slots <- struct{}{}:
		}
	}
	if !h.proven(ctx) {
		h.exit()
		return false
	}
	return true
}

func (h *holding) exit() {
	if h.slots != nil {
		<-h.slots
	}
}

// proven waits until ownership can be proved. It reports false when ctx has ended.
func (h *holding) proven(ctx context.Context) bool {
	for ctx.Err() == nil {
		if h.lease.Check() == nil {
			return true
		}
		pause(ctx, unprovenPause)
	}
	return false
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// unprovenPause is how often it is looked whether ownership can be proved again.
const unprovenPause = 50 * time.Millisecond

// call calls the function. A panic is an error.
func (h *holding) call(m *Msg) (err error) {
	ctx := h.lease.Hard()
	if h.opts.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.opts.timeout)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h.handle(ctx, m)
}
