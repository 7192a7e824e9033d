package consumer

import (
	"context"
	"errors"
	"strings"
	"testing"
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
		if len(told) != 2 || !errors.Is(told[0].Err, bad) || told[1].Partition != "p" || told[1].Sequence != 0 || !strings.Contains(told[1].Err.Error(), `told of "bad": oh`) {
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

func TestNilOptions(t *testing.T) {
	none := func(context.Context, *Msg) error { return nil }
	c, err := newCore(nil, "g", "s.{partition}", none, []Option{nil, InFlight(2), Use(nil, func(f Func) Func { return f }), nil}, wayDurable)
	if err != nil || c.opts.inFlight != 2 || len(c.opts.wrap) != 1 {
		t.Errorf("%v", err)
	}
}
