package natskv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
)

var _ kv.Inspector = (*Store)(nil)

// A Finding is one thing that Inspect has looked at, the same as admin.Finding. Its Level, an
// admin.Grade, is "ok", "note", "warning" or "bad": admin.Fine, Note, Warn and Wrong.
type Finding = kv.Finding

// Inspect looks at what a group stands on without opening its bucket: also when Open
// fails, since the bucket is not there or its settings are wrong. See [Store.Inspect].
func Inspect(ctx context.Context, js jetstream.JetStream, group string, opts ...Option) ([]Finding, error) {
	s, err := newStore(js, group, opts)
	if err != nil {
		return nil, err
	}
	s.watchLink()
	defer s.Close()
	return s.Inspect(ctx)
}

// Inspect looks at the connection, the server, the account, the bucket, the clocks, and
// what this user may do, and says what it finds, in this order, with what to do about it
// where it is not as it should be. Whatever is wrong is a finding; the error is ctx's.
//
// It changes nothing. What this user is not permitted to look at is a note that names the
// subject. To find out what is permitted, it tries; the server tells of each denial on the
// connection as well, so the connection's handler of errors hears of it.
func (s *Store) Inspect(ctx context.Context) ([]Finding, error) {
	i := &inspection{store: s}
	if i.connection(ctx) {
		info := i.reach(ctx)
		i.server(info)
		i.account(ctx, info)
		if info != nil {
			i.bucket(info)
			i.replicas(info)
			i.clock()
		}
		i.permissions(ctx)
	}
	if ctx.Err() != nil {
		return i.found, context.Cause(ctx)
	}
	return i.found, nil
}

// An inspection gathers findings.
type inspection struct {
	store *Store
	found []Finding
	best  sample // the quickest answer of the stream's leader
}

func (i *inspection) say(about string, level kv.Grade, what, why, fix string) {
	i.found = append(i.found, Finding{About: about, Level: level, What: what, Why: why, Fix: fix})
}

// fine says that something is as it should be.
func (i *inspection) fine(about, what string) { i.say(about, kv.Fine, what, "", "") }

// unseen says that something could not be looked at.
func (i *inspection) unseen(about, what string, err error) {
	if denied, is := errors.AsType[*kv.DeniedError](err); is {
		i.say(about, kv.Note, fmt.Sprintf("%s cannot be looked at: this user may not %s to %s", what, denied.Op, denied.Subject), "", "look as a user who may, or grant it to this one")
		return
	}
	i.say(about, kv.Note, fmt.Sprintf("%s cannot be looked at: %v", what, err), "", "")
}

const (
	// farAway is a round trip from which on a second between heartbeats is no longer plenty.
	farAway = 250 * time.Millisecond
	// tooFar is one with which requests fail for want of time now and then.
	tooFar = time.Second
)

// connection looks at the way to the server, and says whether there is one.
func (i *inspection) connection(ctx context.Context) bool {
	s := i.store
	c, _ := s.Connection()
	switch {
	case c.Closed:
		i.say("connection", kv.Wrong, "the connection is closed for good", "nothing brings it back", "make a new one, with natskv.ConnectOptions, which never give up")
		return false
	case !c.Up:
		i.say("connection", kv.Wrong, "not connected to any server", "without one there is no store", "see whether the servers of the URL run and can be reached from here")
		return false
	}
	best, err := s.roundTrip(ctx)
	where := fmt.Sprintf("server %s", c.Server)
	if cluster := s.nc.ConnectedClusterName(); cluster != "" {
		where += " of cluster " + cluster
	}
	if err != nil {
		i.say("connection", kv.Wrong, where+" does not answer: "+err.Error(), "a connection that is silent is cut sooner or later", "see whether the network or the server is overloaded")
		return false
	}
	i.far("connection", where, best)
	how := s.nc.Opts
	for _, missing := range lacking(&how) {
		i.say("connection", kv.Note, "this process's connection lacks "+missing, "a worker would suffer from it; to look on needs no more", "connect with natskv.ConnectOptions")
	}
	return true
}

// roundTrip is how long the quickest of a few rounds to the server took.
func (s *Store) roundTrip(ctx context.Context) (best time.Duration, err error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	for n := range samples {
		begun := time.Now()
		if err := s.flush(ctx); err != nil {
			if n > 0 {
				break // one was answered
			}
			return 0, err
		}
		if took := time.Since(begun); n == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// far says how far away something is.
func (i *inspection) far(about, what string, d time.Duration) {
	what = fmt.Sprintf("%s answers within %v", what, d.Round(10*time.Microsecond))
	const why = "a heartbeat is a write to the store every second, and one request may take 2 s"
	switch {
	case d >= tooFar:
		i.say(about, kv.Wrong, what, why, "bring workers and store nearer to each other, or see what delays the network")
	case d >= farAway:
		i.say(about, kv.Warn, what, why, "bring workers and store nearer to each other, or give natskv.WithRequestTimeout and Config.HeartbeatInterval more time")
	default:
		i.fine(about, what)
	}
}

// A sample is one answer of the stream's leader: when it was asked for and had, by this
// process's clock, and what the leader's clock said.
type sample struct {
	sent time.Time
	took time.Duration
	now  time.Time
}

// samples is how often the server and the leader are asked, for the quickest answer.
const samples = 5

// reach asks the stream's leader what the stream is like; nil: it did not say.
func (i *inspection) reach(ctx context.Context) *streamInfo {
	s := i.store
	var info *streamInfo
asking:
	for range samples {
		sent := time.Now()
		got, err := ofLeader(s.info(ctx, "", 0))
		took := time.Since(sent)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return info
		case info != nil:
			i.say("bucket", kv.Warn, "its leader has answered, and then not: "+err.Error(), "a heartbeat that gets no answer is as good as none", "see `nats server report jetstream`, and whether the network loses what is sent")
			break asking
		default:
			if errors.Is(err, errSilence) { // having asked again and again; once says why
				sent = time.Now()
				got, err = ofLeader(s.infoOnce(ctx, "", 0))
				took = time.Since(sent)
			}
			if err != nil {
				i.unreached(err)
				return nil
			}
		}
		if info = got; i.best.took == 0 || took < i.best.took {
			i.best = sample{sent, took, got.Now}
		}
	}
	i.far("bucket", "the leader of "+s.stream, i.best.took)
	return info
}

// unreached says why the stream's leader did not answer.
func (i *inspection) unreached(err error) {
	s := i.store
	var denied *kv.DeniedError
	switch {
	case errors.As(err, &denied):
		i.say("bucket", kv.Wrong, fmt.Sprintf("this user may not %s to %s", denied.Op, denied.Subject), "everybody who uses the bucket asks what it is like", "grant it: `parti permissions` prints what each role needs")
	case isCode(err, codeNoStream):
		i.say("bucket", kv.Wrong, "there is no stream "+s.stream, "the group has no store: nobody has started a worker, or it was deleted", "start a worker that may make it; workers that are alive make it anew by themselves")
	case isCode(err, codeNotEnabled), isCode(err, codeNotForAccount), errors.Is(err, errNobody):
		i.say("server", kv.Wrong, "nobody takes requests to JetStream: "+err.Error(), "the group's state is kept there", "start nats-server with -js, or give this account JetStream limits; with a domain, see that the leaf node is connected")
	case isCode(err, codeNotAvailable):
		i.say("replicas", kv.Wrong, "the stream "+s.stream+" has no leader", "more than half of its replicas are gone, or they are electing one", "see which servers of the cluster are down: `nats server report jetstream`")
	case isCode(err, codeOffline):
		i.say("replicas", kv.Wrong, "the stream "+s.stream+" is offline", "the servers that have it are away, or are only coming up", "see which servers of the cluster are down: `nats server report jetstream`")
	default:
		i.say("bucket", kv.Wrong, "its leader does not answer: "+err.Error(), "no heartbeat gets through", "see `nats server report jetstream`")
	}
}

// server looks at the server's release and its limits.
func (i *inspection) server(info *streamInfo) {
	s := i.store
	version := s.nc.ConnectedServerVersion()
	if info != nil {
		if level, _ := strconv.Atoi(info.Config.Metadata["_nats.level"]); level < needLevel {
			i.tooOld(version, level)
		} else {
			i.fine("server", fmt.Sprintf("version %s, JetStream API level %d", version, level))
		}
	}
	limits := s.Limits()
	size := fmt.Sprintf("a record may have %d KiB, a commit %d records", limits.MaxPayload>>10, limits.MaxBatch)
	if limits.MaxPayload < smallPayload {
		i.say("server", kv.Warn, size, "a worker's slice is one record; what does not fit counts as a lack of capacity", "raise max_payload of the servers to 1MB, its default")
		return
	}
	i.fine("server", size)
}

// smallPayload is what a slice of some thousand partitions needs, compressed.
const smallPayload = 200 << 10

func (i *inspection) tooOld(version string, level int) {
	err := &TooOldError{Server: version, Level: level, Need: needLevel}
	what, fix, _ := strings.Cut(err.Error(), ": ")
	i.say("server", kv.Wrong, what, "commits are atomic batches, which came with level 2", fix)
}

const (
	someOff = time.Second      // two clocks that are kept right differ by less
	muchOff = 30 * time.Second // one of them is not
)

// clock compares this machine's clock with that of the stream's leader.
func (i *inspection) clock() {
	b := i.best
	if b.now.IsZero() {
		i.say("clock", kv.Note, "the server does not say what time it is", "", "")
		return
	}
	// The answer was given at some moment between the question and its arrival.
	bound := b.took / 2
	ahead := b.sent.Add(bound).Sub(b.now)
	word := "ahead of"
	if ahead < 0 {
		ahead, word = -ahead, "behind"
	}
	what := fmt.Sprintf("this machine's clock is %v ± %v %s that of the leader of %s", ahead.Round(10*time.Microsecond), bound.Round(10*time.Microsecond), word, i.store.stream)
	const why = "no wall clocks are compared to decide who owns what, but records expire by the servers' clocks, and what an operator says is until some time ends by the leader's"
	const fix = "see that NTP runs on this machine and on the servers"
	switch least := ahead - bound; {
	case least > muchOff:
		i.say("clock", kv.Warn, what, why, fix)
	case least > someOff:
		i.say("clock", kv.Note, what, why, fix)
	default:
		i.fine("clock", what)
	}
}
