package natskv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/wire"
)

// permissions tries what the roles of package permissions do, in ways that do nothing.
func (i *inspection) permissions(ctx context.Context) {
	for _, role := range []struct {
		name   string
		level  kv.Grade
		why    string
		trials []trial
	}{
		{"an observer", kv.Warn, "who may not do that does not see all of the group", i.observes()},
		{"a worker", kv.Note, "who may not do that cannot run partitions", i.works()},
		{"an operator", kv.Note, "who may not do that cannot steer the group", i.steers()},
		{"a provisioner", kv.Note, "who may not do that cannot make the bucket, nor make it anew when it is lost: somebody of the group has to", i.provides()},
	} {
		var denied []string
		for _, try := range role.trials {
			err := try(ctx)
			if ctx.Err() != nil {
				return
			}
			if d, is := errors.AsType[*kv.DeniedError](err); is {
				denied = append(denied, d.Op+" to "+d.Subject)
			}
		}
		if len(denied) > 0 {
			i.say("permissions", role.level, fmt.Sprintf("this user is not %s: it may not %s", role.name, strings.Join(denied, ", nor ")),
				role.why, "if it is meant to be one, grant it: `parti permissions` prints what each role needs")
			continue
		}
		i.fine("permissions", "this user may do what "+role.name+" does")
	}
}

// A trial does something that does nothing. Its error is a DeniedError when it is not
// permitted; others say nothing of permissions.
type trial func(ctx context.Context) error

// writes tries to write a key, on a condition that cannot hold: no revision is so small.
func (i *inspection) writes(key string) trial {
	s := i.store
	return func(ctx context.Context) error {
		ctx, cancel, err := s.bounded(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		m := nats.NewMsg(s.writes + key)
		m.Header[headerLast] = []string{"1"}
		m.Header[headerStream] = []string{s.stream}
		_, err = s.request(ctx, m)
		return err
	}
}

// calls tries a request to JetStream.
func (i *inspection) calls(method string, request any) trial {
	s := i.store
	return func(ctx context.Context) error {
		ctx, cancel, err := s.bounded(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		return s.call(ctx, method, request, nil)
	}
}

// observes is what it takes to see a group.
func (i *inspection) observes() []trial {
	return []trial{
		i.calls("STREAM.INFO."+i.store.stream, nil),
		func(ctx context.Context) error {
			_, err := i.store.Get(ctx, barrierKey)
			return err
		},
		i.follows,
		i.probes,
	}
}

// follows subscribes where changes come.
func (i *inspection) follows(ctx context.Context) error {
	s := i.store
	before := s.nc.LastError()
	subject := s.changes() + barrierKey
	sub, err := s.nc.SubscribeSync(subject)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only where the connection is closed
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.flush(ctx); err != nil {
		return err
	}
	return s.denied(before, subject)
}

// probes asks for a name that nobody has: should somebody answer, or be silent, there is a
// listener that takes in all names.
func (i *inspection) probes(ctx context.Context) error {
	s := i.store
	_, err := s.Probe(ctx, wire.AboutName(nuid.Next()))
	if err == nil || ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		i.say("probes", kv.Warn, "somebody listens to "+s.probed("*"), "a lost worker is known within a second by nobody's listening to its name; now it takes LostAfter",
			"find who subscribes to that, or to everything, such as `nats sub '>'` or a stream over it: `nats server report connections --account NAME --subject '"+s.probed("nobody")+"'`")
	}
	return err
}

// works is what it takes to run partitions.
func (i *inspection) works() []trial {
	s := i.store
	return []trial{
		i.writes(barrierKey), // see Store.barrier
		i.writes(wire.Key{Kind: wire.Session, Name: barrierKey}.String()),
		func(ctx context.Context) error {
			_, err := s.Probe(ctx, nuid.Next())
			return err
		},
		func(ctx context.Context) error {
			name := nuid.Next()
			stop, err := s.Answer(name, func() []byte { return nil })
			if err != nil {
				return err
			}
			defer stop()
			if _, err = s.Probe(ctx, name); errors.Is(err, context.DeadlineExceeded) {
				return &kv.DeniedError{Op: "publish", Subject: "whoever has asked it (allow_responses)"}
			}
			return nil // who may not ask was told before
		},
	}
}

// steers is what it takes to steer a group.
func (i *inspection) steers() []trial {
	return []trial{
		i.writes(wire.Key{Kind: wire.Control, Name: barrierKey}.String()),
		i.writes(wire.Key{Kind: wire.Leader}.String()),
	}
}

// provides is what it takes to make the bucket, as far as it can be tried without doing it:
// what clears the stream, or makes its leader step down, cannot.
func (i *inspection) provides() []trial {
	nameless := struct{}{} // the server refuses a stream whose name is not that of the subject
	return []trial{
		i.calls("INFO", nil),
		i.calls("STREAM.CREATE."+i.store.stream, nameless),
		i.calls("STREAM.UPDATE."+i.store.stream, nameless),
	}
}
