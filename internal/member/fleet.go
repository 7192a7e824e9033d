package member

import (
	"strings"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

func compare(a, b string) int { return strings.Compare(a, b) }

// A fleet tells the leader's brain of sessions' keys, each change once, in order.
type fleet struct {
	term   *term
	revs   map[string]kv.Rev         // by worker ID: the newest that was told
	last   map[string]roster.Session // the last record that could be read
	slices []plan.Slice              // as found: whose session a worker ID had
	relisting
}

// catchUp takes a snapshot.
func (f *fleet) catchUp() { f.relist(f.term, KindSession, f.all) }

// all takes a snapshot: what is not in it is gone, unless it came after.
func (f *fleet) all(a Answer) {
	there := map[string]bool{}
	for _, r := range a.Records {
		there[r.Key.Name] = true
		f.take(r)
	}
	for _, id := range sorted(f.last) {
		if !there[id] && f.revs[id] <= a.Rev {
			delete(f.last, id)
			f.term.tell(lead.Gone{Worker: id})
		}
	}
}

// told takes one change.
func (f *fleet) told(r Record) {
	if f.term.brain != nil {
		f.take(r)
	}
}

func (f *fleet) take(r Record) {
	id := r.Key.Name
	if r.Rev <= f.revs[id] {
		return
	}
	f.revs[id] = r.Rev
	if r.Gone {
		delete(f.last, id)
		f.term.tell(lead.Gone{Worker: id, Rev: r.Rev})
		return
	}
	s, ok := r.Value.(roster.Session)
	if r.Unreadable != nil || !ok {
		if s, ok = f.guess(id); !ok {
			return
		}
	}
	f.last[id] = s
	f.term.store.saw(s.Highest)
	f.term.tell(lead.Saw{Session: s, Rev: r.Rev})
}

// guess stands in for a record that cannot be read, perhaps of a newer release:
// somebody is there and renews, and we do not know what it says. It is as it was
// when it could be read last, or else as the plan knows it, and it gives no receipt.
func (f *fleet) guess(id string) (roster.Session, bool) {
	if s, ok := f.last[id]; ok {
		return s, true
	}
	for _, sl := range f.slices {
		if sl.Worker == id {
			return roster.Session{Worker: id, Nonce: sl.Session, TTL: sl.TTL, Fenced: sl.Fenced, Owns: true}, true
		}
	}
	return roster.Session{}, false
}

// put notes what this leader wrote itself.
func (f *fleet) put(s roster.Session, rev kv.Rev) {
	f.revs[s.Worker] = max(f.revs[s.Worker], rev)
	f.last[s.Worker] = s
}

// read reads one session again.
func (f *fleet) read(id string) {
	f.term.get(f.term.life, Key{KindSession, id}, func(r Record) {
		if r.Gone && r.Rev == 0 { // the marker that we expected has been cleared away
			delete(f.last, id)
			f.term.tell(lead.Gone{Worker: id})
			return
		}
		f.take(r)
	})
}
