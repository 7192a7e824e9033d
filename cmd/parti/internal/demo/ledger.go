package demo

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A ledger is the account of what really happened: every run of a handler, every
// message that was published, every effect. It believes nobody; it is told by the
// handlers themselves and compares.
type ledger struct {
	mu       sync.Mutex
	now      func() time.Time
	began    time.Time
	accounts map[string]*account
	ids      []string
	dead     map[int]bool // lives that were killed: what they still do does not count
	step     int          // of the script, for the gaps that end in it
	closed   bool         // what ends now is the end of the demo
	count    counters
	gaps     []gap
	found    []string // the first few breaches in words
	work     map[int]uint64
	tell     func() // that who runs what has changed
}

// counters are what is counted over the whole group.
type counters struct {
	Sent      uint64 // acknowledged by the server
	Processed uint64 // distinct messages
	Repeated  uint64 // effects beyond the first of a message
	Placed    int    // first runs of partitions
	Moved     int    // runs by another worker than the one before
	Doubles   int    // runs that began while another was under way
	Tokens    int    // runs whose token was not above all earlier ones
	Late      int    // effects by a run that was not the newest, or had ended
}

// since is what was counted after before.
func (c counters) since(before counters) counters {
	return counters{
		Sent: c.Sent - before.Sent, Processed: c.Processed - before.Processed, Repeated: c.Repeated - before.Repeated,
		Placed: c.Placed - before.Placed, Moved: c.Moved - before.Moved,
		Doubles: c.Doubles - before.Doubles, Tokens: c.Tokens - before.Tokens, Late: c.Late - before.Late,
	}
}

// An account is what is known of one partition.
type account struct {
	sent  uint64
	times []uint32 // how often each message was processed; message n at n-1
	done  uint64   // messages processed at least once
	runs  []*run   // under way
	last  *run     // the newest
	ended time.Time
	cause cause
}

// An owner is one life of one worker.
type owner struct {
	life   int // grows with every start of any worker
	worker string
}

// A run is one call of a handler.
type run struct {
	book      *ledger
	partition string
	owner     owner
	token     uint64
	open      bool
}

// A gap is a time in which nobody ran a partition.
type gap struct {
	Partition string
	Cause     cause
	Step      int
	For       time.Duration
}

// cause is what ended the run before a gap.
type cause uint8

const (
	byStart       cause = iota // there was none before
	byHandoff                  // the partition was asked back for another worker
	byCrash                    // its worker was killed
	byLeaderCrash              // its worker was killed while it led
	byStop                     // its worker stopped cleanly
	byFence                    // its worker could not prove its ownership
	byReturn                   // the handler returned by itself
	causeEnd
)

var causeWords = [...]string{
	byStart: "cold start", byHandoff: "handed over", byCrash: "worker killed", byLeaderCrash: "leader killed", byStop: "worker restarted",
	byFence: "worker fenced", byReturn: "handler returned",
}

func (c cause) String() string { return causeWords[c] }

// maxFound is how many breaches are kept in words; all are counted.
const maxFound = 5

func newLedger(now func() time.Time, tell func(), partitions []string) *ledger {
	l := &ledger{
		now: now, began: now(), accounts: map[string]*account{}, ids: slices.Sorted(slices.Values(partitions)),
		dead: map[int]bool{}, work: map[int]uint64{}, tell: tell,
	}
	for _, id := range l.ids {
		l.accounts[id] = &account{ended: l.began}
	}
	return l
}

func (l *ledger) breachf(format string, args ...any) {
	if len(l.found) < maxFound {
		l.found = append(l.found, fmt.Sprintf(format, args...))
	}
}

// Begin says that a handler has begun. It must be the first thing a handler does.
func (l *ledger) Begin(partition string, who owner, token uint64) *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &run{book: l, partition: partition, owner: who, token: token}
	a := l.accounts[partition]
	if a == nil || l.dead[who.life] {
		return r // a dead worker's handler does nothing
	}
	r.open = true
	if len(a.runs) > 0 {
		l.count.Doubles++
		l.breachf("%s ran on %s (token %d) and on %s (token %d) at the same time",
			partition, a.runs[0].owner.worker, a.runs[0].token, who.worker, token)
	} else if !l.closed {
		l.gaps = append(l.gaps, gap{partition, a.cause, l.step, l.now().Sub(a.ended)})
	}
	if before := a.last; before == nil {
		l.count.Placed++
	} else {
		if before.owner.worker != who.worker && !l.closed {
			l.count.Moved++
		}
		// A handler that returned early runs again under its lease.
		if token < before.token || (token == before.token && before.owner != who) {
			l.count.Tokens++
			l.breachf("%s began on %s with token %d after token %d on %s",
				partition, who.worker, token, before.token, before.owner.worker)
		}
	}
	if a.last == nil || token > a.last.token || (token == a.last.token && !a.last.open) {
		a.last = r
	}
	a.runs = append(a.runs, r)
	l.tell()
	return r
}

// Effect says that the handler has processed a message. It reports whether the
// effect happened: a dead worker has none.
func (r *run) Effect(seq uint64) bool {
	l := r.book
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[r.partition]
	if a == nil || seq == 0 || l.dead[r.owner.life] {
		return false
	}
	if !r.open || a.last != r {
		l.count.Late++
		l.breachf("message %d of %s was processed by %s, which did not own it any more", seq, r.partition, r.owner.worker)
	}
	for uint64(len(a.times)) < seq {
		a.times = append(a.times, 0)
	}
	a.times[seq-1]++
	if a.times[seq-1] == 1 {
		a.done++
		l.count.Processed++
	} else {
		l.count.Repeated++
	}
	l.work[r.owner.life]++
	return true
}

// End says that the handler returns now, and why. It must be the last thing a
// handler does.
func (r *run) End(why cause) {
	l := r.book
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(r, why)
}

func (l *ledger) end(r *run, why cause) {
	if !r.open {
		return
	}
	r.open = false
	a := l.accounts[r.partition]
	a.runs = slices.DeleteFunc(a.runs, func(x *run) bool { return x == r })
	if len(a.runs) == 0 {
		a.ended, a.cause = l.now(), why
	}
	l.tell()
}

// Kill says that a worker is dead from now on: its handlers have ended, and what
// their goroutines may still do did not happen.
func (l *ledger) Kill(life int, why cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead[life] = true
	for _, id := range l.ids {
		for _, r := range slices.Clone(l.accounts[id].runs) {
			if r.owner.life == life {
				l.end(r, why)
			}
		}
	}
	l.tell()
}

// Next is the number of the partition's next message.
func (l *ledger) Next(partition string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accounts[partition].sent + 1
}

// Sent says that the server has acknowledged the message.
func (l *ledger) Sent(partition string, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.accounts[partition]; a != nil && seq > a.sent {
		l.count.Sent += seq - a.sent
		a.sent = seq
	}
}

// Step says which step of the script begins.
func (l *ledger) Step(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step = n
}

// Close says that the demo is over: what ends after this is nobody's gap. Partitions
// without an owner at this moment are named.
func (l *ledger) Close() (orphans []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, id := range l.ids {
		if len(l.accounts[id].runs) == 0 {
			orphans = append(orphans, id)
		}
	}
	return orphans
}

// Counters are the counts so far.
func (l *ledger) Counters() counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Broken reports whether something happened that never may.
func (l *ledger) Broken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count.Doubles+l.count.Tokens+l.count.Late > 0
}

// Owners says for each partition which worker runs it, or "".
func (l *ledger) Owners() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]string, len(l.ids))
	for _, id := range l.ids {
		all[id] = ""
		if runs := l.accounts[id].runs; len(runs) > 0 {
			all[id] = runs[len(runs)-1].owner.worker
		}
	}
	return all
}

// Newest is the largest token that anybody runs under.
func (l *ledger) Newest() (token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.accounts {
		for _, r := range a.runs {
			token = max(token, r.token)
		}
	}
	return token
}

// Loads counts the partitions that each life runs, and those that nobody runs.
func (l *ledger) Loads() (loads map[int]int, orphans int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	loads = map[int]int{}
	for _, id := range l.ids {
		runs := l.accounts[id].runs
		if len(runs) == 0 {
			orphans++
		}
		for _, r := range runs {
			loads[r.owner.life]++
		}
	}
	return loads, orphans
}

// Work counts the effects of each life.
func (l *ledger) Work() map[int]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.work)
}

// Done says how many messages of each partition were processed.
func (l *ledger) Done() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]uint64, len(l.ids))
	for _, id := range l.ids {
		all[id] = l.accounts[id].done
	}
	return all
}

// Missing counts the messages that were sent and not processed, and names the
// first few.
func (l *ledger) Missing() (n uint64, named []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range l.ids {
		a := l.accounts[id]
		for seq := uint64(1); seq <= a.sent; seq++ {
			if seq <= uint64(len(a.times)) && a.times[seq-1] > 0 {
				continue
			}
			if n++; len(named) < maxFound {
				named = append(named, fmt.Sprintf("%s #%d", id, seq))
			}
		}
	}
	return n, named
}

// Gaps are those that have ended.
func (l *ledger) Gaps() []gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.gaps)
}

// Breaches are the first few in words.
func (l *ledger) Breaches() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.found)
}
