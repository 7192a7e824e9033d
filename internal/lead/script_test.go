package lead

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

var rewrite = flag.Bool("rewrite", false, "write the traces of testdata anew")

// TestScripts runs a leader's brain against a small make-believe group. A file of
// testdata holds commands, and below each, indented by four spaces, what the leader did.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(was))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(was) {
				t.Errorf("the trace has changed; look at it, and run with -rewrite when it is right\n--- got\n%s", got)
			}
		})
	}
}

func play(t *testing.T, script string) string {
	g := newGroup(t)
	var out bytes.Buffer
	for sc := bufio.NewScanner(strings.NewReader(script)); sc.Scan(); {
		line := sc.Text()
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		g.do(strings.Fields(line))
		g.adds()
		for _, l := range g.trace {
			fmt.Fprintln(&out, "    "+l)
		}
		g.trace = nil
	}
	return out.String()
}

// group is a store, a leader's brain and workers that obey at once.
type group struct {
	t       *testing.T
	cfg     Config
	start   time.Time
	now     time.Time
	slept   time.Duration // of now, and the wall clock has counted it by itself
	m       *Machine
	workers map[string]*worker
	rev     kv.Rev
	nonces  int

	inc     uint32
	head    plan.Head
	stands  bool
	slices  map[string]plan.Slice
	aside   []plan.Aside
	keys    map[string]roster.Session // session keys
	revs    map[string]kv.Rev
	parts   []plan.Partition
	failing string
	silent  bool // the source does not answer
	ctl     []plan.Control
	writing bool // the store takes no writes
	trace   []string
	wake    time.Time
}

type worker struct {
	s       roster.Session
	run     map[string]plan.Version
	stuck   map[string]bool
	next    time.Time
	crashed bool // its process is gone
	hung    bool // it does nothing, but its connection stands
	claimed bool // its first record is written
}

func newGroup(t *testing.T) *group {
	start := time.Unix(1_800_000_000, 0).UTC()
	g := &group{
		t: t, start: start, now: start, inc: 7, workers: map[string]*worker{}, slices: map[string]plan.Slice{},
		keys: map[string]roster.Session{}, revs: map[string]kv.Rev{}, writing: true,
	}
	g.cfg = Config{
		Worker: "boss", Nonce: "boss-1", Strategy: even{},
		Settle: 2 * time.Second, ColdStart: 30 * time.Second, Scale: 10 * time.Second, Cooldown: 10 * time.Second,
		Coalesce: 10 * time.Millisecond, StuckAfter: time.Minute, MaxBatch: 1000, MaxPayload: 1 << 20,
		Roster: roster.Config{
			Heartbeat: time.Second, ProbeInterval: 500 * time.Millisecond, ProbeAgain: 100 * time.Millisecond,
			LostAfter: 6 * time.Second, EmergencyGrace: time.Second, RecoveryGrace: 15 * time.Second, TTL: 15 * time.Second,
		},
	}
	return g
}

// adds checks that what members carry is the sum of their partitions.
func (g *group) adds() {
	if g.m == nil {
		return
	}
	carried := make([]int, len(g.m.members))
	for i := range g.m.parts {
		if p := &g.m.parts[i]; p.state != free {
			carried[p.owner] += p.bytes
		}
	}
	for w, x := range g.m.members {
		if x.bytes != sliceBytes+carried[w] {
			g.t.Errorf("%s is taken for %d bytes, and has %d", x.id, x.bytes, sliceBytes+carried[w])
		}
	}
}

// date is what the wall clock says.
func (g *group) date() time.Time { return g.now.Add(-g.slept) }

func (g *group) sayf(format string, a ...any) {
	g.trace = append(g.trace, fmt.Sprintf("%7.3f  ", g.now.Sub(g.start).Seconds())+fmt.Sprintf(format, a...))
}

func (g *group) do(args []string) {
	rest := args[1:]
	dur := func(s string) time.Duration {
		d, err := time.ParseDuration(s)
		if err != nil {
			g.t.Fatal(err)
		}
		return d
	}
	switch args[0] {
	case "set":
		for _, kvp := range rest {
			k, v, _ := strings.Cut(kvp, "=")
			switch k {
			case "expected":
				g.cfg.ExpectedWorkers, _ = strconv.Atoi(v)
			case "grace":
				g.cfg.RestartGrace = dur(v)
			case "batch":
				g.cfg.MaxBatch, _ = strconv.Atoi(v)
			case "payload":
				g.cfg.MaxPayload, _ = strconv.Atoi(v)
			case "refresh":
				g.cfg.Refresh = dur(v)
			case "suspended": // the leader's machine was, for so long in all
				g.slept = dur(v)
				g.cfg.Wall = func(now time.Time) time.Time { return now.Add(-g.slept) }
			case "strategy": // sticky, rather than one that only counts
				g.cfg.Strategy = strategy.Sticky()
			default:
				g.t.Fatal("set what? ", k)
			}
		}
	case "partitions":
		late := g.silent
		g.source(rest)
		if g.m != nil {
			if late {
				g.m.Step(g.now, Listed{g.parts})
			} else {
				g.m.Step(g.now, Relist{})
			}
			g.pump()
		}
	case "source-fails":
		g.failing = strings.Join(rest, " ")
	case "source-hangs": // for good, for the leader that has asked
		g.silent = true
	case "workers":
		for _, id := range rest {
			g.join(id, nil)
		}
	case "worker": // worker ID key=value...
		g.join(rest[0], rest[1:])
	case "lead":
		g.lead()
	case "crash":
		for _, id := range rest {
			g.workers[id].crashed = true
		}
	case "hang":
		for _, id := range rest {
			g.workers[id].hung = true
		}
	case "resume":
		for _, id := range rest {
			g.workers[id].hung = false
			g.renew(g.workers[id])
		}
	case "leave":
		for _, id := range rest {
			g.workers[id].s.Leaving = true
			g.renew(g.workers[id])
		}
		g.pump()
	case "stick":
		for _, p := range rest[1:] {
			g.workers[rest[0]].stuck[p] = true
		}
	case "letgo":
		g.workers[rest[0]].stuck = map[string]bool{}
		g.renew(g.workers[rest[0]])
		g.pump()
	case "done", "reject":
		w := g.workers[rest[0]]
		l := plan.Lease{Partition: rest[1], Token: w.run[rest[1]]}
		delete(w.run, rest[1])
		if args[0] == "done" {
			w.s.Done = append(w.s.Done, l)
		} else {
			w.s.Rejected = append(w.s.Rejected, l)
		}
		g.renew(w)
		g.pump()
	case "expire":
		for _, id := range rest {
			delete(g.keys, id)
			g.rev++
			g.m.Step(g.now, Gone{Worker: id, Rev: g.rev})
		}
		g.pump()
	case "interrupt":
		g.m.Step(g.now, Interrupted{})
		g.pump()
	case "store":
		g.writing = rest[0] == "up"
	case "lose-store":
		g.inc++
		g.stands, g.head, g.slices, g.aside, g.keys = false, plan.Head{}, map[string]plan.Slice{}, nil, map[string]roster.Session{}
		g.m = nil
		for _, w := range g.workers {
			w.s.Resumed, w.s.Holds = true, nil
			for _, id := range slices.Sorted(maps.Keys(w.run)) {
				w.s.Holds = append(w.s.Holds, plan.Grant{Partition: plan.Partition{ID: id}, Token: w.run[id]})
			}
			w.s.Applied = 0
		}
	case "control":
		g.control(rest)
	case "run":
		g.run(dur(rest[0]))
	case "show":
		g.show()
	case "pending":
		g.pending()
	default:
		g.t.Fatal("what is ", args[0])
	}
}

func (g *group) source(rest []string) {
	g.parts, g.failing, g.silent = nil, "", false
	for _, a := range rest {
		if n, err := strconv.Atoi(a); err == nil {
			for i := range n {
				g.parts = append(g.parts, plan.Partition{ID: fmt.Sprintf("p%02d", i)})
			}
			continue
		}
		id, weight, _ := strings.Cut(a, ":")
		n, _ := strconv.ParseInt(weight, 10, 64)
		g.parts = append(g.parts, plan.Partition{ID: id, Weight: n})
	}
	slices.SortFunc(g.parts, func(a, b plan.Partition) int { return strings.Compare(a.ID, b.ID) })
}

func (g *group) join(id string, traits []string) {
	g.nonces++
	s := roster.Session{Worker: id, Nonce: fmt.Sprintf("%s-%d", id, g.nonces), TTL: 15_000, Owns: true, Software: "v1"}
	if id == g.cfg.Worker {
		s.Nonce = g.cfg.Nonce
	}
	for _, kvp := range traits {
		k, v, _ := strings.Cut(kvp, "=")
		switch k {
		case "fence":
			s.Fenced = true
		case "ttl":
			d, _ := time.ParseDuration(v)
			s.TTL = plan.ToMillis(d)
		case "capacity":
			s.Capacity, _ = strconv.ParseInt(v, 10, 64)
		case "share":
			s.Share, _ = strconv.ParseInt(v, 10, 64)
		case "software":
			s.Software = v
		case "prepares":
			s.Prepares = true
		default:
			g.t.Fatal("which trait is ", k)
		}
	}
	if old, ok := g.keys[id]; ok {
		s.Previous.Nonce = old.Nonce
		switch {
		case old.Left:
			s.Previous.End = roster.EndLeft
		case old.Tombstone != nil:
			s.Previous.End = roster.EndTombstone
		}
	}
	w := &worker{s: s, run: map[string]plan.Version{}, stuck: map[string]bool{}}
	g.workers[id] = w
	g.renew(w)
	if g.m != nil {
		g.pump()
	}
}

// renew lets w act on its slice and write its record.
func (g *group) renew(w *worker) {
	if w.crashed || w.hung {
		return
	}
	w.next = g.now.Add(time.Second)
	if !g.writing {
		return
	}
	defer func() { w.claimed = true }()
	if k, ok := g.keys[w.s.Worker]; ok && w.claimed && (k.Nonce != w.s.Nonce || k.Tombstone != nil) {
		if !w.hung && k.Tombstone != nil {
			g.sayf("%s finds its tombstone and stops", w.s.Worker)
		}
		w.crashed = true
		return
	}
	sl := g.slices[w.s.Worker]
	if sl.Session == w.s.Nonce {
		w.s.Applied = sl.Version
		w.s.Holds = nil
	}
	grants := map[string]plan.Version{}
	if sl.Session == w.s.Nonce {
		for _, x := range sl.Granted {
			grants[x.ID] = x.Token
		}
	}
	gone := func(l plan.Lease) bool { return grants[l.Partition] != l.Token }
	forgotten := func(l plan.Lease) bool {
		return gone(l) && !slices.ContainsFunc(sl.Releasing, func(r plan.Release) bool { return r.ID == l.Partition && r.Token == l.Token })
	}
	w.s.Done, w.s.Rejected = slices.DeleteFunc(w.s.Done, forgotten), slices.DeleteFunc(w.s.Rejected, gone)
	if w.s.Leaving || sl.Session == w.s.Nonce || len(w.s.Holds) == 0 { // otherwise nothing ends that it held
		w.s.Draining = nil
		for _, id := range slices.Sorted(maps.Keys(w.run)) {
			switch tok := w.run[id]; {
			case grants[id] == tok && !w.s.Leaving:
			case w.stuck[id]:
				w.s.Draining = append(w.s.Draining, plan.Lease{Partition: id, Token: tok})
			default:
				delete(w.run, id)
			}
		}
	}
	if !w.s.Leaving {
		for _, id := range slices.Sorted(maps.Keys(grants)) {
			tok := grants[id]
			done := slices.ContainsFunc(append(slices.Clone(w.s.Done), w.s.Rejected...), func(l plan.Lease) bool { return l.Partition == id })
			if _, busy := w.run[id]; !busy && !done {
				for _, o := range g.workers {
					if _, two := o.run[id]; two && o != w && !o.hung && !o.crashed {
						g.t.Fatalf("%v: %s runs on %s and %s", g.now.Sub(g.start), id, o.s.Worker, w.s.Worker)
					}
				}
				w.run[id] = tok
			}
		}
	}
	w.s.Highest = max(w.s.Highest, g.head.Version)
	if w.s.Leaving && len(w.run) == 0 {
		w.s.Left = true
		w.crashed = true
	}
	g.rev++
	g.keys[w.s.Worker], g.revs[w.s.Worker] = w.s, g.rev
	if g.m != nil {
		g.m.Step(g.now, Saw{Session: w.s, Rev: g.rev})
	}
}

// lead begins a term by what stands in the store.
func (g *group) lead() {
	found := Found{Incarnation: g.inc, Plan: g.stands, Head: g.head, Aside: g.aside}
	for _, id := range slices.Sorted(maps.Keys(g.slices)) {
		found.Slices = append(found.Slices, g.slices[id])
	}
	g.m = New(g.cfg, found, g.now)
	g.m.Step(g.now, Controlled{g.ctl})
	for _, id := range slices.Sorted(maps.Keys(g.keys)) {
		g.m.Step(g.now, Saw{Session: g.keys[id], Rev: g.revs[id]})
	}
	g.m.Step(g.now, Synced{})
	g.pump()
}

// pump does what the leader asks for until it asks for nothing.
func (g *group) pump() {
	if g.m == nil {
		return
	}
	for range 100 {
		rd := g.m.Ready()
		for _, n := range rd.Notes {
			if n.State >= roster.Slow || n.Why == "answers again" {
				g.sayf("%s is %v: %s", n.Worker, n.State, n.Why)
			}
		}
		for _, a := range rd.Alerts {
			if a.Text == "" {
				g.sayf("alert %s is over", a.About)
			} else {
				g.sayf("alert %s: %s", a.About, a.Text)
			}
		}
		if rd.StepDown || rd.WentBack {
			g.sayf("stepdown=%v wentback=%v", rd.StepDown, rd.WentBack)
			g.m = nil
			return
		}
		busy := false
		if rd.List {
			switch {
			case g.silent:
			case g.failing != "":
				busy = true
				g.m.Step(g.now, Unlisted{g.failing})
			default:
				busy = true
				g.m.Step(g.now, Listed{g.parts})
			}
		}
		for _, nonce := range rd.Probe {
			g.probe(nonce)
		}
		for _, v := range rd.Tombstones {
			busy = true
			g.tombstone(v)
		}
		if rd.Commit != nil && g.writing {
			busy = true
			g.commit(rd.Commit)
		}
		if !busy {
			g.wake = rd.WakeAt
			return
		}
	}
	g.t.Fatalf("%v: the leader never rests", g.now.Sub(g.start))
}

func (g *group) probe(nonce string) {
	for _, w := range g.workers {
		if w.s.Nonce == nonce {
			switch {
			case w.crashed:
				g.m.Step(g.now, Probed{nonce, roster.NoResponders})
			case w.hung:
				g.m.Step(g.now, Probed{nonce, roster.NoAnswer})
			default:
				g.m.Step(g.now, Probed{nonce, roster.Answered})
			}
			return
		}
	}
	g.m.Step(g.now, Probed{nonce, roster.NoResponders})
}

func (g *group) tombstone(v roster.Verdict) {
	id := v.Session.Worker
	if _, there := g.keys[id]; there && g.revs[id] != v.Rev {
		g.m.Step(g.now, Missed{id, v.Session.Nonce})
		return
	}
	g.sayf("tombstone %s: %s", v.Session.Nonce, v.Why)
	g.rev++
	g.keys[id], g.revs[id] = v.Session, g.rev
	g.m.Step(g.now, Tombstoned{id, v.Session.Nonce, g.rev})
}

func (g *group) commit(c *Commit) {
	if c.Head.Version <= g.head.Version || (g.stands && c.Head.Term < g.head.Term) {
		g.t.Fatalf("plan %v of term %d after %v of term %d", c.Head.Version, c.Head.Term, g.head.Version, g.head.Term)
	}
	if n := len(c.Slices) + len(c.Removed) + 2; n > g.cfg.MaxBatch {
		g.t.Fatalf("a commit of %d writes", n)
	}
	g.head, g.stands = c.Head, true
	about := ""
	if c.Decision != nil && c.Decision.About != "" {
		about = " (" + c.Decision.About + ")"
	}
	g.sayf("plan %v %v %v%s", c.Head.Version, c.Head.Phase, c.Head.Why, about)
	if d := c.Decision; d != nil {
		if now := g.date(); now.Sub(d.At).Abs() > time.Minute {
			g.t.Errorf("it is decided at %v, and it is %v", d.At, now)
		}
		g.moves(d.Moves)
	}
	for _, s := range c.Slices {
		if n := len(s.Coming); n > 0 || len(g.slices[s.Worker].Coming) > 0 {
			g.sayf("  %s is told that %d come", s.Worker, n)
		}
		g.slices[s.Worker] = s
	}
	for _, id := range c.Removed {
		delete(g.slices, id)
	}
	if c.Head.Slices != len(g.slices) {
		g.t.Fatalf("the head counts %d slices, and %d stand", c.Head.Slices, len(g.slices))
	}
	if c.Aside != nil {
		g.aside = *c.Aside
		for _, a := range g.aside {
			g.sayf("  aside %s %v %v", a.Partition, a.Why, a.For.Duration())
		}
	}
	g.m.Step(g.now, Committed{c.Head.Version})
	for _, id := range slices.Sorted(maps.Keys(g.workers)) {
		if slices.Contains(c.Head.Changed, id) {
			g.renew(g.workers[id])
		}
	}
}

// moves prints moves of the same kind in one line.
func (g *group) moves(ms []plan.Move) {
	by := map[string][]string{}
	var order []string
	for _, mv := range ms {
		k := fmt.Sprintf("%s %s->%s (%v)", mv.Step, mv.From, mv.To, mv.Why)
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], mv.Partition)
	}
	slices.Sort(order)
	for _, k := range order {
		g.sayf("  %s: %s", k, strings.Join(by[k], " "))
	}
}

// run lets time pass: workers renew, the leader wakes.
func (g *group) run(d time.Duration) {
	end := g.now.Add(d)
	g.pump()
	for still := 0; ; still++ {
		next := end
		if g.m != nil {
			if g.wake.Before(next) {
				next = g.wake
			}
		}
		for _, w := range g.workers {
			if !w.crashed && !w.hung && w.next.Before(next) {
				next = w.next
			}
		}
		if next.After(g.now) {
			g.now, still = next, 0
		}
		if !g.now.Before(end) {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(g.workers)) {
			if w := g.workers[id]; !w.next.After(g.now) {
				g.renew(w)
			}
		}
		if g.m != nil {
			if g.writing {
				g.m.Step(g.now, Accepted{})
			} else {
				g.m.Step(g.now, Tick{})
			}
			g.pump()
		}
		if still > 1000 {
			g.t.Fatalf("time does not pass: wake %v, think %v, roster %v, probe %v, listing %v", g.wake.Sub(g.now), g.m.wake.Sub(g.now), g.m.roster.Next().Sub(g.now), g.m.probeAt.Sub(g.now), g.m.listing.due.Sub(g.now))
		}
	}
}

func (g *group) control(rest []string) {
	if rest[0] == "off" {
		g.ctl = nil
	} else {
		c := plan.Control{Kind: plan.ControlKind(rest[0])}
		for _, a := range rest[1:] {
			k, v, _ := strings.Cut(a, "=")
			switch k {
			case "worker":
				c.Worker = v
			case "partition":
				c.Partition = v
			case "number":
				c.Number = v
			case "session":
				c.Session = v
			case "young":
				c.When = g.date()
			case "for":
				d, _ := time.ParseDuration(v)
				c.Until = g.date().Add(d)
			}
		}
		g.ctl = append(g.ctl, c)
	}
	if g.m != nil {
		g.m.Step(g.now, Controlled{slices.Clone(g.ctl)})
		g.pump()
	}
}

func (g *group) pending() {
	for _, p := range g.m.Pending() {
		text := fmt.Sprintf("pending: %v, %s", p.Why, p.About)
		if !p.Since.IsZero() {
			text += fmt.Sprintf(", since %.3f", p.Since.Sub(g.start).Seconds())
		}
		if !p.At.IsZero() {
			text += fmt.Sprintf(", at %.3f", p.At.Sub(g.start).Seconds())
		}
		g.sayf("%s", text)
	}
}

func (g *group) show() {
	for _, id := range slices.Sorted(maps.Keys(g.workers)) {
		w := g.workers[id]
		g.sayf("%s runs %d: %s", id, len(w.run), strings.Join(slices.Sorted(maps.Keys(w.run)), " "))
	}
	g.sayf("%v, %d unassigned, %d releasing", g.head.Phase, g.head.Unassigned, g.head.Releasing)
}
