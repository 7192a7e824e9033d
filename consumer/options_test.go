package consumer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A panic of who observes ends nothing, and is told to them once.
func TestObserverPanics(t *testing.T) {
	bad := errors.New("bad")
	for _, again := range []bool{false, true} {
		var told []Trouble
		o := defaults(wayDurable)
		Observe(func(x Trouble) {
			told = append(told, x)
			if again || len(told) == 1 {
				panic("oh")
			}
		})(&o)
		o.observe(Trouble{Partition: "p", Sequence: 3, Err: bad})
		if len(told) != 2 || !errors.Is(told[0].Err, bad) || told[1].Partition != "p" || told[1].Sequence != 0 || !strings.Contains(told[1].Err.Error(), "has panicked, oh, ") || !errors.Is(told[1].Err, bad) {
			t.Errorf("%+v", told)
		}
	}
}

// The last one counts, and nil means none.
func TestObservers(t *testing.T) {
	var told []string
	o := defaults(wayCursor)
	for _, name := range []string{"a", "b"} {
		Observe(func(Trouble) { told = append(told, name) })(&o)
	}
	o.observe(Trouble{})
	Observe(nil)(&o)
	o.observe(Trouble{})
	if got := strings.Join(told, " "); got != "b" {
		t.Error(got)
	}
}

// noServer is one that is not asked.
type noServer struct{ jetstream.JetStream }

// All that is wrong is said at once, each with what to do.
func TestAllThatIsWrong(t *testing.T) {
	_, err := newCore(nil, "a.b", "s", nil, []Option{
		AckWait(time.Millisecond), AckWait(time.Second), InFlight(0), MaxDeliver(3), DeadLetter("dead.*"), BackOff(), ProvisionOnly(), WithoutCreate(),
	}, wayCursor)
	want := `consumer: subject "s": it must contain {partition} once, and contains it 0 times
consumer: AckWait is not an option of NewCursor: leave it out
consumer: InFlight(0): use 1 to 1000
consumer: ProvisionOnly and WithoutCreate exclude each other: leave one out
consumer: BackOff needs a time: give one or more, or leave it out
consumer: DeadLetter(dead.*): use a subject without wildcards
consumer: a nil JetStream: give it what jetstream.New returns for a connection
consumer: group "a.b": a name is letters, digits, - and _
consumer: a nil Func: give one that processes a message`
	var bad *OptionError
	if err == nil || err.Error() != want || !errors.As(err, &bad) || bad.Option != "AckWait" {
		t.Errorf("%v", err)
	}
	_, err = newCore(noServer{}, "g", "s.{partition}", func(context.Context, *Msg) error { return nil }, []Option{
		CursorEvery(0), CursorBucket("b"), MaxDeliver(-1), DeadLetter("s.dead"), BackOff(-1, 25*time.Hour),
	}, wayDurable)
	want = `consumer: CursorEvery is not an option of NewDurable: leave it out
consumer: CursorBucket is not an option of NewDurable: leave it out
consumer: MaxDeliver(-1): use 0 to 1000000
consumer: BackOff(-1ns): use 0 to 24h
consumer: BackOff(25h0m0s): use 0 to 24h
consumer: DeadLetter(s.dead): use a subject that s.{partition} does not match, or dead letters come back`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestNilOptions(t *testing.T) {
	none := func(context.Context, *Msg) error { return nil }
	c, err := newCore(noServer{}, "g", "s.{partition}", none, []Option{nil, InFlight(2), Use(nil, func(f Func) Func { return f }), nil}, wayDurable)
	if err != nil || c.opts.inFlight != 2 || len(c.opts.wrap) != 1 {
		t.Errorf("%v", err)
	}
}

// What a request says while a message is in hand fits where it waits, with the next message.
func TestBeat(t *testing.T) {
	for _, expiry := range []time.Duration{2 * time.Second, 5 * time.Second, 30 * time.Second, time.Minute} {
		for batch := 1; batch <= 100; batch++ {
			every := beat(expiry, batch)
			if every < time.Second || every > expiry/2 {
				t.Errorf("%v, %d: every %v", expiry, batch, every)
			}
			if signs := int(expiry / every); batch >= 4 && signs+2 > batch {
				t.Errorf("%v, %d: %d signs of life", expiry, batch, signs)
			}
		}
	}
	if every := beat(5*time.Second, 64); every != time.Second {
		t.Errorf("as usual: every %v", every)
	}
}
