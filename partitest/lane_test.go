package partitest

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/partitest/internal/frame"
)

// A scene of one lane whose pump is worked by hand, towards the server.
func onePump(t *testing.T) (l *lane, p *pump, put func(*Fault) *Fault) {
	t.Helper()
	near, a := net.Pipe()
	far, b := net.Pipe()
	t.Cleanup(func() { _, _, _, _ = near.Close(), a.Close(), far.Close(), b.Close() })
	l = new(lane)
	w := newWire([]*lane{l}, a, b, &chance{rand: rand.New(rand.NewPCG(1, 2))})
	put = func(f *Fault) *Fault {
		healing, healed := context.WithCancel(context.Background())
		f.healing = healing
		f.heal = sync.OnceFunc(func() { healed(); l.remove(f) })
		t.Cleanup(f.heal)
		l.add(f)
		return f
	}
	return l, w.pumps[0], put
}

func (p *pump) goes(t *testing.T, want string) {
	t.Helper()
	if data, _, _ := p.next(); string(data) != want {
		t.Errorf("%q goes out, want %q", data, want)
	}
}

func message(s string) frame.Frame { return frame.Frame{Data: []byte(s), Subject: "x"} }

// What was held goes before what comes after the end of the fault.
func TestHeldGoesFirst(t *testing.T) {
	for name, f := range map[string]*Fault{"hold": {kind: hold}, "delay": {kind: delay, least: time.Hour, most: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			_, p, put := onePump(t)
			held := put(f)
			p.judge(message("1"))
			p.goes(t, "")
			held.Heal()
			p.judge(message("2"))
			p.goes(t, "1")
			p.goes(t, "2")
		})
	}
}

// What several faults hold goes when the last of them ends, in its order.
func TestHeldByTwo(t *testing.T) {
	_, p, put := onePump(t)
	one := put(&Fault{kind: hold})
	p.judge(message("1"))
	two := put(&Fault{kind: hold})
	p.judge(message("2"))
	three := put(&Fault{kind: hold, only: filter{subjects: []string{"y"}}})
	p.judge(frame.Frame{Data: []byte("3"), Subject: "y"})
	p.judge(message("4"))
	one.Heal()
	p.goes(t, "1")
	p.goes(t, "")
	two.Heal()
	p.goes(t, "2")
	p.goes(t, "4")
	three.Heal()
	p.goes(t, "3")
	p.goes(t, "")
	if one.Count() != 4 || two.Count() != 3 || three.Count() != 1 {
		t.Errorf("%d, %d and %d were held", one.Count(), two.Count(), three.Count())
	}
}

// What is lost is not counted, whichever fault came first.
func TestLostIsNotCounted(t *testing.T) {
	_, p, put := onePump(t)
	counted, twice, lost := put(&Fault{kind: count}), put(&Fault{kind: twice, rate: 1}), put(&Fault{kind: drop, rate: 1})
	p.judge(message("1"))
	p.goes(t, "")
	if counted.Count() != 0 || twice.Count() != 0 || lost.Count() != 1 {
		t.Errorf("%d counted, %d repeated, %d lost", counted.Count(), twice.Count(), lost.Count())
	}
}
