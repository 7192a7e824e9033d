package partitest

import (
	"bufio"
	"cmp"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/parti-go/parti/partitest/internal/frame"
)

// A lane is a way that connections take: that of one client to all nodes or to one of
// them, or between two nodes. Faults are put on lanes.
type lane struct {
	link *Link // whose way it is; nil: between nodes, or nobody's

	mu     sync.Mutex
	faults []*Fault
	wires  map[*wire]struct{}
}

// active are the faults of these lanes that are not healed, oldest first in each.
func active(lanes []*lane) (all []*Fault) {
	for _, l := range lanes {
		l.mu.Lock()
		all = append(all, l.faults...)
		l.mu.Unlock()
	}
	return all
}

// add puts a fault on the lane. A cut ends what runs over it.
func (l *lane) add(f *Fault) {
	l.mu.Lock()
	l.faults = append(l.faults, f)
	wires := l.snapshot()
	l.mu.Unlock()
	for _, w := range wires {
		switch f.kind {
		case cut:
			f.struck.Add(1)
			w.close()
		case hole:
			f.struck.Add(1)
		default:
		}
		w.wake()
	}
}

func (l *lane) remove(f *Fault) {
	l.mu.Lock()
	l.faults = slices.DeleteFunc(l.faults, func(o *Fault) bool { return o == f })
	wires := l.snapshot()
	l.mu.Unlock()
	for _, w := range wires {
		w.wake()
	}
}

// snapshot lists the wires. The lane's lock is held.
func (l *lane) snapshot() []*wire {
	all := make([]*wire, 0, len(l.wires))
	for w := range l.wires {
		all = append(all, w)
	}
	return all
}

func (l *lane) enter(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wires == nil {
		l.wires = map[*wire]struct{}{}
	}
	l.wires[w] = struct{}{}
}

func (l *lane) leave(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wires, w)
}

// opens counts a connection that is being made, where one has trouble with it, and
// reports whether it may be.
func opens(lanes []*lane) bool {
	for _, f := range active(lanes) {
		switch f.kind {
		case cut:
			f.struck.Add(1)
			return false
		case hole:
			f.struck.Add(1)
		default:
		}
	}
	return true
}

// A wire is one connection: two pumps, one in each direction.
type wire struct {
	lanes []*lane
	near  net.Conn // who dialed
	far   net.Conn // the node
	pumps []*pump
	once  sync.Once
	gone  chan struct{}
}

// newWire makes a wire on these lanes. Nothing flows before run.
func newWire(lanes []*lane, near, far net.Conn, chance *chance) *wire {
	w := &wire{lanes: lanes, near: near, far: far, gone: make(chan struct{})}
	w.pumps = []*pump{
		{wire: w, dir: ToServer, from: bufio.NewReader(near), to: far, chance: chance},
		{wire: w, dir: ToClient, from: bufio.NewReader(far), to: near, chance: chance},
	}
	for _, p := range w.pumps {
		p.read = frame.ReadChunk
		p.woken = make(chan struct{}, 1)
		p.room = make(chan struct{}, 1)
		p.delayed = map[*Fault][]item{}
	}
	for _, l := range lanes {
		l.enter(w)
	}
	return w
}

// run lets it flow until one end is closed.
func (w *wire) run() {
	if !opens(w.lanes) {
		w.close()
	}
	var both sync.WaitGroup
	for _, p := range w.pumps {
		both.Go(p.suck)
		both.Go(p.pour)
	}
	both.Wait()
	w.close()
	for _, l := range w.lanes {
		l.leave(w)
	}
}

func (w *wire) close() {
	w.once.Do(func() {
		close(w.gone)
		_ = w.near.Close()
		_ = w.far.Close()
	})
}

// wake lets the pumps look at the faults again.
func (w *wire) wake() {
	for _, p := range w.pumps {
		signal(p.woken)
		signal(p.room)
	}
}

// signal leaves word for whoever waits on a channel of one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// maxQueued is how many bytes may wait in a pump before it reads no further, as the
// buffers of a real network are finite.
const maxQueued = 16 << 20

// A pump carries frames in one direction.
type pump struct {
	wire   *wire
	dir    Direction
	from   *bufio.Reader
	to     net.Conn
	read   func(*bufio.Reader) (frame.Frame, error)
	alter  func(frame.Frame) frame.Frame // nil: nothing is altered
	asked  *asked                        // of the client, both directions
	chance *chance

	woken chan struct{} // something may go out
	room  chan struct{} // something may come in

	mu      sync.Mutex
	ready   [][]byte
	delayed map[*Fault][]item // in the order in which they came
	queued  int
	came    uint64 // counts frames
	ended   bool
}

// An item is a frame that waits for a time, or for its fault's end.
type item struct {
	data []byte
	came uint64
	due  time.Time
	rest []*Fault // that hold it as well
}

// suck reads frames and decides what becomes of them.
func (p *pump) suck() {
	for p.mayRead() {
		f, err := p.read(p.from)
		if err != nil || !p.mayRead() { // what comes while nothing passes must not be judged yet
			break
		}
		if p.alter != nil {
			f = p.alter(f)
		}
		p.judge(f)
		signal(p.woken)
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	signal(p.woken)
}

// mayRead waits while nothing passes, or too much waits. It reports false when the wire is gone.
func (p *pump) mayRead() bool {
	for {
		select {
		case <-p.wire.gone:
			return false
		default:
		}
		p.mu.Lock()
		full := p.queued > maxQueued
		p.mu.Unlock()
		if !full && p.hole() == nil {
			return true
		}
		select {
		case <-p.wire.gone:
			return false
		case <-p.room:
		}
	}
}

// hole is a fault that lets nothing pass in this direction.
func (p *pump) hole() *Fault {
	for _, f := range active(p.wire.lanes) {
		if f.kind == hole && f.only.direction(p.dir) {
			return f
		}
	}
	return nil
}

// judge queues a frame, unless it is lost, as the faults on its way say.
func (p *pump) judge(f frame.Frame) {
	faults := slices.DeleteFunc(active(p.wire.lanes), func(x *Fault) bool { return !x.hits(p.dir, f, p.asked) })
	for _, x := range faults { // what is lost is neither counted nor repeated
		if x.kind == drop && p.chance.below(x.rate) {
			x.struck.Add(1)
			return
		}
	}
	var holds []*Fault // all of them
	var late *Fault    // the newest
	times := 1
	for _, x := range faults {
		switch x.kind {
		case twice:
			if p.chance.below(x.rate) {
				x.struck.Add(1)
				times++
			}
		case count:
			x.struck.Add(1)
		case delay:
			late = x
		case hold:
			holds = append(holds, x)
		case none, cut, hole, drop, slow: // of the connection, not of one frame, or done with
		}
	}
	p.asked.note(p.dir, f)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ripen(now) // what was held until now goes first
	for range times {
		p.queued += len(f.Data)
		p.came++
		it := item{data: f.Data, came: p.came}
		switch {
		case len(holds) > 0:
			for _, x := range holds {
				x.struck.Add(1)
			}
			it.rest = holds[1:]
			p.delayed[holds[0]] = append(p.delayed[holds[0]], it)
		case late != nil:
			late.struck.Add(1)
			it.due = now.Add(p.chance.between(late.least, late.most))
			if before := p.delayed[late]; len(before) > 0 && it.due.Before(before[len(before)-1].due) {
				it.due = before[len(before)-1].due // what came first goes first
			}
			p.delayed[late] = append(p.delayed[late], it)
		default:
			p.ready = append(p.ready, it.data)
		}
	}
}

// ripen makes ready what waits no more, in the order in which it came. It returns when the
// next may, zero if no time is known, and how many wait.
func (p *pump) ripen(now time.Time) (wait time.Duration, waiting int) {
	var ripe, held []item
	for fault, items := range p.delayed {
		n := 0
		switch {
		case fault.isHealed():
			n = len(items)
		case fault.kind == delay:
			for n < len(items) && !items[n].due.After(now) {
				n++
			}
		}
		for _, it := range items[:n] {
			it.rest = slices.DeleteFunc(slices.Clone(it.rest), (*Fault).isHealed)
			if len(it.rest) > 0 {
				held = append(held, it)
			} else {
				ripe = append(ripe, it)
			}
		}
		if p.delayed[fault] = items[n:]; n == len(items) {
			delete(p.delayed, fault)
		}
	}
	first := func(a, b item) int { return cmp.Compare(a.came, b.came) }
	for _, it := range held {
		by := it.rest[0]
		it.rest = it.rest[1:]
		p.delayed[by] = append(p.delayed[by], it)
		slices.SortFunc(p.delayed[by], first)
	}
	slices.SortFunc(ripe, first)
	for _, it := range ripe {
		p.ready = append(p.ready, it.data)
	}
	for fault, items := range p.delayed {
		waiting += len(items)
		if d := items[0].due.Sub(now); fault.kind == delay && (wait == 0 || d < wait) {
			wait = d
		}
	}
	return wait, waiting
}

// next is what may go out now; nil: nothing may, before wait has passed (zero: before
// something is told). It reports false when nothing ever will.
func (p *pump) next() (data []byte, wait time.Duration, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait, waiting := p.ripen(time.Now())
	if len(p.ready) > 0 {
		data = p.ready[0]
		p.ready = p.ready[1:]
		p.queued -= len(data)
		return data, 0, true
	}
	return nil, wait, !p.ended || waiting > 0
}

// pour writes what may go out. The wire is closed once its source has ended, and all
// that came before was written.
func (p *pump) pour() {
	defer p.wire.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := time.Duration(0)
		if p.hole() == nil {
			data, until, more := p.next()
			if data != nil {
				signal(p.room)
				if !p.write(data) {
					return
				}
				continue
			}
			if !more {
				return
			}
			wait = until
		}
		if wait == 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-p.wire.gone:
			return
		case <-p.woken:
		case <-timer.C:
		}
	}
}

// write writes no faster than it may. It reports false when the wire is gone.
func (p *pump) write(data []byte) bool {
	if !p.throttle(len(data)) {
		return false
	}
	_, err := p.to.Write(data)
	return err == nil
}

// throttle waits until so many bytes may be written. It reports false when the wire is
// gone.
func (p *pump) throttle(n int) bool {
	for _, f := range active(p.wire.lanes) {
		if f.kind != slow || !f.only.direction(p.dir) {
			continue
		}
		f.struck.Add(1)
		for rest := n; rest > 0 && !f.isHealed(); rest -= f.limiter.Burst() {
			timer := time.NewTimer(f.limiter.ReserveN(time.Now(), min(rest, f.limiter.Burst())).Delay())
			select {
			case <-timer.C:
			case <-f.healing.Done():
			case <-p.wire.gone:
			}
			timer.Stop()
		}
	}
	select {
	case <-p.wire.gone:
		return false
	default:
		return true
	}
}
