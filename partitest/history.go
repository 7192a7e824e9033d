package partitest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/parti-go/parti"
)

// An act is one effect as its sink and its caller saw it: it took place somewhere
// between call and back, which are ticks of one clock.
type act struct {
	token      uint64
	call, back int64
	outcome    outcome
}

type outcome uint8

const (
	accepted outcome = iota
	refused
	unknown
)

// fence is the specification of a sink that is fenced with tokens, for one partition:
// it accepts what has no smaller token than all that it has accepted, and nothing else.
//
// Effects overlap, and the order in which a sink has taken them is not known: so it is
// not enough to compare each answer with the ones before. The checker looks for any
// order in which all answers are right.
var fence = porcupine.NondeterministicModel{
	Init: func() []any { return []any{uint64(0)} },
	Step: func(state, input, _ any) []any {
		top, a := state.(uint64), input.(act)
		switch {
		case a.outcome == accepted && a.token >= top:
			return []any{a.token}
		case a.outcome == refused && a.token < top:
			return []any{top}
		case a.outcome == unknown && a.token > top:
			return []any{top, a.token}
		case a.outcome == unknown:
			return []any{top}
		}
		return nil
	},
}

// lockState is who holds a partition, and the newest epoch.
type lockState struct {
	holder, top uint64
	by          string // who took it with top
}

// lockOp is one operation on the lock that a partition is.
type lockOp struct {
	take  bool // else it is given back
	token uint64
	by    string // whose process
}

// lock is the specification of a lock with epochs: it is taken with a larger token than
// ever before, or again with the last one by whoever had it, while nobody holds it; and
// given back by whoever holds it.
//
// Its operations are moments, which never overlap: so it is a second opinion on what the
// account finds, where that of effects finds more.
var lock = porcupine.Model{
	Init: func() any { return lockState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, h := state.(lockState), input.(lockOp)
		switch {
		case h.take:
			ok := s.holder == 0 && (h.token > s.top || h.token == s.top && h.by == s.by)
			return ok, lockState{holder: h.token, top: h.token, by: h.by}
		case s.holder == h.token:
			return true, lockState{top: s.top, by: s.by}
		default:
			return true, s // its hold had ended before
		}
	},
}

// checkTime is how long the checker may take for one partition.
const checkTime = 10 * time.Second

// irregular finds the partitions whose history is not that of a lock with epochs, or
// whose effects are not those of a fenced sink.
func (l *Ledger) irregular(policy parti.Isolation) (found []breach) {
	check := func(id, what string, model porcupine.Model, ops []porcupine.Operation) {
		switch porcupine.CheckOperationsTimeout(model, ops, checkTime) {
		case porcupine.Ok:
		case porcupine.Illegal:
			found = append(found, breach{partition: id, text: fmt.Sprintf("%s: no order of its %d operations makes them %s", id, len(ops), what)})
		case porcupine.Unknown:
			found = append(found, breach{partition: id, text: fmt.Sprintf("%s: its %d operations could not be checked in %v", id, len(ops), checkTime)})
		}
	}
	holds := l.holds(policy)
	for _, id := range slices.Sorted(maps.Keys(holds)) {
		check(id, "those of a lock with epochs", lock, holds[id])
	}
	l.mu.Lock()
	acts := maps.Clone(l.acts)
	l.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(acts)) {
		var ops []porcupine.Operation
		for i, a := range acts[id] {
			ops = append(ops, porcupine.Operation{ClientId: i, Input: a, Call: a.call, Return: a.back})
		}
		check(id, "those of a sink that is fenced with tokens", fence.ToModel(), ops)
	}
	return found
}

// holds are the operations on each partition's lock. What happened to a worker ends
// its holds where that excuses an overlap.
func (l *Ledger) holds(policy parti.Isolation) map[string][]porcupine.Operation {
	all := map[string][]porcupine.Operation{}
	open := map[string]map[string]uint64{} // worker, partition, token
	tick := int64(0)
	lives := map[string]int{}
	top := map[string]uint64{}
	workers := newAccount()
	enter := func(id string, h lockOp) {
		tick++
		all[id] = append(all[id], porcupine.Operation{Input: h, Call: 2 * tick, Return: 2*tick + 1})
	}
	for _, e := range l.sorted() {
		workers.faults(e)
		switch e.What {
		case Started:
			if policy == parti.Freeze && e.Token < top[e.Partition] && workers.worker(e.Worker).apart(e.At) {
				continue
			}
			top[e.Partition] = max(top[e.Partition], e.Token)
			// Who is excused may have taken it again since then.
			for other, held := range open {
				token, holds := held[e.Partition]
				if w := workers.worker(other); holds && other != e.Worker && (w.still(e.At) || policy == parti.Freeze && w.apart(e.At)) {
					enter(e.Partition, lockOp{token: token})
					delete(held, e.Partition)
				}
			}
			enter(e.Partition, lockOp{take: true, token: e.Token, by: fmt.Sprint(e.Worker, " ", lives[e.Worker])})
			if open[e.Worker] == nil {
				open[e.Worker] = map[string]uint64{}
			}
			open[e.Worker][e.Partition] = e.Token
		case Returned:
			enter(e.Partition, lockOp{token: e.Token})
			if open[e.Worker][e.Partition] == e.Token { // else it is of a process that crashed
				delete(open[e.Worker], e.Partition)
			}
		case Isolated:
			if policy == parti.Fence {
				continue
			}
			fallthrough
		case Crashed, Frozen:
			if e.What == Crashed {
				lives[e.Worker]++
			}
			for id, token := range open[e.Worker] {
				enter(id, lockOp{token: token})
			}
			delete(open, e.Worker)
		default:
		}
	}
	return all
}
