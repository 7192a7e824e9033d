package member

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/plan"
)

const (
	// logTTL is how long a decision is kept.
	logTTL = 7 * 24 * time.Hour
	// chainTTL is how long it is kept that a former leader's chain was removed. There is one
	// for each term, and none but that leader ever looks at it.
	chainTTL = 24 * time.Hour
	// commitTries is how often a commit is tried that is refused although the head
	// is the one that it is to replace.
	commitTries = 5
)

// A ledger writes commits, one at a time, and finds out what became of each. It
// builds no other commit before the outcome of the last is known: one that timed
// out may land at any time, but only on the head that it names.
type ledger struct {
	term *term

	base   kv.Rev            // of the head
	slices map[string]kv.Rev // by worker ID
	aside  kv.Rev
	// A store that went back gives out numbers again, and the head may come to stand
	// at the very revision of a commit that was lost. So every commit is also
	// conditional on a key that only its own leader writes, and in the same commits:
	// what was lost of the head was lost of the chain. A new leader's first commit
	// removes the chain of the leader before.
	chain  kv.Rev
	former Record

	out   *lead.Commit // on its way; nil: none
	tries int          // refusals although the head was right
	wait  retry
}

// open tells whether the outcome of a commit is not known.
func (l *ledger) open() bool { return l.out != nil }

// commit begins to write c. The same one may be asked for many times.
func (l *ledger) commit(c *lead.Commit) {
	if l.out != nil {
		return
	}
	l.out, l.tries, l.wait = c, 0, retry{}
	t := l.term
	t.after(t.life, "commit", t.cfg.LeaderTTL/2, func() {
		t.end("a commit has had no outcome for "+(t.cfg.LeaderTTL/2).String(), t.cfg.backOff())
	})
	l.send()
}

// puts are the writes of the commit: the head first, then the slices, in order.
func (l *ledger) puts() []Put {
	c := l.out
	puts := []Put{{Record: Record{Key: Key{Kind: KindPlan}, Rev: l.base, Value: c.Head}}}
	for _, s := range c.Slices {
		puts = append(puts, Put{Record: Record{Key: Key{KindSlice, s.Worker}, Rev: l.slices[s.Worker], Value: s}})
	}
	for _, id := range c.Removed {
		if rev := l.slices[id]; rev != 0 {
			puts = append(puts, Put{Record: Record{Key: Key{KindSlice, id}, Rev: rev, Gone: true}})
		}
	}
	if c.Aside != nil {
		puts = append(puts, Put{Record: Record{Key: Key{Kind: KindAside}, Rev: l.aside, Value: *c.Aside}})
	}
	puts = append(puts, Put{Record: Record{Key: Key{KindChain, l.term.me.Nonce}, Rev: l.chain, Value: c.Head.Version}})
	if !l.term.took && l.former.Rev != 0 && !l.former.Gone {
		puts = append(puts, Put{Record: Record{Key: l.former.Key, Rev: l.former.Rev, Gone: true}, TTL: chainTTL})
	}
	if c.Decision != nil {
		name := strconv.FormatUint(uint64(c.Head.Version), 10)
		puts = append(puts, Put{Record: Record{Key: Key{KindLog, name}, Value: *c.Decision}, TTL: logTTL})
	}
	return puts
}

func (l *ledger) send() {
	t := l.term
	t.ask(t.life, Commit{Puts: l.puts()}, func(a Answer) {
		switch Outcome(a.Err) {
		case Fine:
			l.stands(a.Rev)
		case Stale:
			l.find(true)
		case Unknown, Unavailable:
			l.find(false)
		case Lost:
			t.end("the bucket is not there", t.cfg.backOff())
		default:
			t.failed("committing plan "+l.out.Head.Version.String(), a.Err)
			if many, is := errors.AsType[*kv.TooManyError](a.Err); is {
				l.smaller(many)
				return
			}
			l.find(true)
		}
	})
}

// smaller begins the term anew with commits that the server takes: it tells its limit
// only now, and what the brain has planned in one step cannot be taken apart. At once, but
// not again and again: a smaller one may not help.
func (l *ledger) smaller(e *kv.TooManyError) {
	t := l.term
	var pause time.Duration
	if e.Max >= t.cfg.Lead.MaxBatch {
		pause = t.cfg.backOff()
	}
	t.cfg.Lead.MaxBatch = min(t.cfg.Lead.MaxBatch, e.Max)
	t.end("the server takes no more than "+strconv.Itoa(e.Max)+" writes in one commit", pause)
}

// find reads what became of the commit.
func (l *ledger) find(refused bool) {
	t := l.term
	t.get(t.life, Key{Kind: KindPlan}, func(r Record) {
		h, ok := r.Value.(plan.Head)
		switch {
		case ok && !r.Gone && same(h, l.out.Head):
			l.stands(r.Rev)
		case r.Rev == l.base, r.Rev < l.base:
			// Nothing was stored, as far as can be read. What looks older than the
			// base is only a suspicion: the condition of the next try decides.
			l.again(refused)
		default:
			by := "somebody else"
			if ok {
				by = h.Leader
			}
			t.say(event.Refused{Version: l.out.Head.Version, Term: l.out.Head.Term})
			t.end(by+" has written the plan", t.cfg.backOff())
		}
	})
}

// again tries the same commit again. After a refusal it is another of its
// conditions that did not hold: the slices' revisions are read again.
func (l *ledger) again(refused bool) {
	t := l.term
	if refused {
		if l.tries++; l.tries >= commitTries {
			t.say(event.Refused{Version: l.out.Head.Version, Term: l.out.Head.Term})
			t.end("the store refuses its commits", t.cfg.backOff())
			return
		}
	}
	t.after(t.life, "commit again", l.wait.pause(t.desk), func() {
		if !refused {
			l.send()
			return
		}
		t.list(t.life, KindSlice, func(a Answer) {
			revs := make(map[string]kv.Rev, len(a.Records))
			for _, r := range a.Records {
				if !r.Gone {
					revs[r.Key.Name] = r.Rev
				}
			}
			l.slices = revs
			t.get(t.life, Key{Kind: KindAside}, func(r Record) {
				l.aside = r.Rev
				l.send()
			})
		})
	})
}

// stands takes in that the commit is stored, the head at rev and the rest after it.
func (l *ledger) stands(rev kv.Rev) {
	t, c := l.term, l.out
	for _, p := range l.puts() {
		k := p.Record.Key
		switch k.Kind {
		case KindPlan:
			l.base = rev
		case KindSlice:
			if l.slices[k.Name] = rev; p.Record.Gone {
				delete(l.slices, k.Name)
			}
		case KindAside:
			l.aside = rev
		case KindChain:
			if !p.Record.Gone {
				l.chain = rev
			}
		default: // the rest needs nothing here
		}
		rev++
	}
	l.out = nil
	t.cancel(t.life, "commit")
	if !t.took {
		t.took = true
		t.cancel(t.life, "take")
		t.say(event.Led{Term: t.number()})
	}
	t.store.saw(c.Head.Version)
	t.tell(lead.Committed{Version: c.Head.Version})
	if c.Decision != nil {
		t.say(event.Planned{Decision: *c.Decision})
	}
	t.finished()
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
