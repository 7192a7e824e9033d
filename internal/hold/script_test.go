package hold_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/plan"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the traces in testdata from what happens now")

// TestScripts runs testdata/*.txt. A script is commands and, indented below each,
// what the Machine makes of them. Lines that begin with # are for the reader.
//
//	config isolation=fence moves=2   before new: what differs from base
//	0s new [sent=-1s]                the claim is stored
//	1s fact [; fact] [& fact]        facts at one instant: after each ; a Ready, of
//	                                 which only what is to be done is shown; after
//	                                 a & none
//	until 9s ok|down|mute            Ticks whenever it asks to be woken, until then.
//	                                 Renewals are stored at once, fail at once, or
//	                                 are never answered. Shown is only what is new.
//	check a@5   held                 what the accessors say
//
// The facts:
//
//	tick, renewed SENT, failed, found STANDING [plan] [mine], seen V,
//	slice V [a@T ...] [releasing b@T ...] [coming c ...] [for NONCE],
//	started a@T, exited a@T HOW, healthy, failing, jumped, leave, abandon
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(text); got != want {
				t.Errorf("%s\n%s", file, firstDifference(got, want))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// base is what scripts and property tests begin with: trust lasts 12s, and a fence
// shuts 3s before.
var base = hold.Config{
	Worker: "worker-1", Nonce: "me",
	TTL: 16 * time.Second, Margin: 4 * time.Second, Interval: time.Second,
	DrainTimeout: 30 * time.Second, StuckAfter: time.Minute,
	MovesInFlight: 4,
	RestartMin:    time.Second, RestartMax: 8 * time.Second,
	Degraded: hold.Degraded{
		EnterAfter: 10 * time.Second, ExitAfter: 5 * time.Second,
		ErrorThreshold: 5, ErrorWindow: 30 * time.Second,
	},
	Alerts: hold.Alerts{
		Info: 30 * time.Second, Warn: 2 * time.Minute, Error: 5 * time.Minute, Critical: 10 * time.Minute,
		Interval: time.Minute,
	},
}

var zero = time.Unix(1_000_000, 0)

// A player plays one script.
type player struct {
	t     *testing.T
	cfg   hold.Config
	m     *hold.Machine
	now   time.Time
	out   strings.Builder
	asked time.Time // when the renewal on its way was asked for; zero: none is
	said  string    // the last renewal, in words
	was   string    // the last state, in words
}

func play(t *testing.T, text string) string {
	t.Helper()
	p := &player{t: t, cfg: base, now: zero}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "  @") {
			continue // the trace
		}
		p.out.WriteString(line + "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			p.command(line)
		}
	}
	return p.out.String()
}

func (p *player) command(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "config":
		for kv := range strings.FieldsSeq(rest) {
			p.configure(kv)
		}
	case "check":
		fmt.Fprintf(&p.out, "    %v\n", p.m.Check(p.now, p.lease(rest)))
	case "held":
		p.held()
	case "until":
		at, mode, _ := strings.Cut(rest, " ")
		p.until(p.at(at), mode)
	default:
		p.now = p.at(word)
		if args := strings.Fields(rest); args[0] == "new" {
			sent := p.now
			if len(args) > 1 {
				sent = p.at(strings.TrimPrefix(args[1], "sent="))
			}
			p.m = hold.New(p.cfg, p.now, sent)
		} else {
			turns := strings.Split(rest, ";")
			for i, turn := range turns {
				for f := range strings.SplitSeq(turn, "&") {
					p.m.Step(p.now, p.fact(strings.Fields(f)))
				}
				if i < len(turns)-1 {
					p.print(p.m.Ready(), false)
				}
			}
		}
		p.print(p.m.Ready(), true)
	}
}

func (p *player) configure(kv string) {
	k, v, _ := strings.Cut(kv, "=")
	switch k {
	case "isolation":
		p.cfg.Fence = v == "fence"
	case "moves":
		p.cfg.MovesInFlight = p.number(v)
	case "threshold":
		p.cfg.Degraded.ErrorThreshold = p.number(v)
	case "drain":
		p.cfg.DrainTimeout = p.duration(v)
	case "maxfreeze":
		p.cfg.MaxFreeze = p.duration(v)
	case "stuck":
		p.cfg.StuckAfter = p.duration(v)
	case "exit":
		p.cfg.Degraded.ExitAfter = p.duration(v)
	default:
		p.t.Fatalf("unknown setting %q", kv)
	}
}

func (p *player) fact(args []string) hold.Fact {
	word, args := args[0], args[1:]
	switch word {
	case "tick":
		return hold.Tick{}
	case "renewed":
		p.asked = time.Time{}
		return hold.Renewed{Sent: p.at(args[0])}
	case "failed":
		p.asked = time.Time{}
		return hold.RenewFailed{}
	case "found":
		p.asked = time.Time{}
		f := hold.Found{Key: p.standing(args[0])}
		for _, a := range args[1:] {
			f.Plan = f.Plan || a == "plan"
			f.Mine = f.Mine || a == "mine"
		}
		return f
	case "slice":
		return hold.Sliced{Slice: p.slice(args)}
	case "seen":
		return hold.Seen{Version: p.version(args[0])}
	case "started":
		return hold.Started{Lease: p.lease(args[0])}
	case "exited":
		return hold.Exited{Lease: p.lease(args[0]), How: p.how(args[1])}
	case "healthy":
		return hold.Healthy{}
	case "failing":
		return hold.Failing{}
	case "jumped":
		return hold.Jumped{}
	case "leave":
		return hold.Leave{}
	case "abandon":
		return hold.Abandon{}
	}
	p.t.Fatalf("unknown fact %q", word)
	return nil
}

func (p *player) slice(args []string) plan.Slice {
	s := plan.Slice{Worker: "worker-1", Session: "me", Version: p.version(args[0])}
	mode := "granted"
	for _, a := range args[1:] {
		switch a {
		case "releasing", "coming", "for":
			mode = a
			continue
		}
		switch mode {
		case "granted":
			l := p.lease(a)
			s.Granted = append(s.Granted, plan.Grant{Partition: plan.Partition{ID: l.Partition}, Token: l.Token})
		case "releasing":
			l := p.lease(a)
			s.Releasing = append(s.Releasing, plan.Release{Partition: plan.Partition{ID: l.Partition}, Token: l.Token})
		case "coming":
			s.Coming = append(s.Coming, plan.Partition{ID: a})
		case "for":
			s.Session = a
		}
	}
	return s
}

// until sends Ticks when the Machine asks for them, and renews for it.
func (p *player) until(end time.Time, mode string) {
	for range 100_000 {
		rd := p.m.Ready()
		p.news(&rd, end)
		if !p.asked.IsZero() && mode != "mute" {
			if mode == "ok" {
				p.m.Step(p.now, hold.Renewed{Sent: p.asked})
			} else {
				p.m.Step(p.now, hold.RenewFailed{})
				p.m.Step(p.now, hold.Failing{})
			}
			p.asked = time.Time{}
			continue
		}
		if !p.now.Before(end) {
			return
		}
		next := end
		if !rd.WakeAt.IsZero() && rd.WakeAt.Before(end) {
			next = rd.WakeAt
		}
		if !next.After(p.now) {
			p.t.Fatalf("busy: asks at %s to be woken at %s", p.since(p.now), p.since(next))
		}
		p.now = next
		p.m.Step(p.now, hold.Tick{})
	}
	p.t.Fatal("does not come to rest")
}

// news prints rd if it has anything to do or to say that is not routine, or if it
// is the last one.
func (p *player) news(rd *hold.Ready, end time.Time) {
	acts := len(rd.Hard)+len(rd.Stop)+len(rd.Start)+len(rd.Forget)+len(rd.Prepare)+len(rd.Alerts) > 0
	says := rd.Renew != nil && report(rd.Renew) != p.said
	if !acts && !says && state(rd) == p.was && p.now.Before(end) {
		if rd.Renew != nil {
			p.asked = p.now
		}
		return
	}
	fmt.Fprintf(&p.out, "  @%s\n", p.since(p.now))
	p.print(*rd, true)
}

func (p *player) print(rd hold.Ready, all bool) {
	stops := func(word string, list []hold.Stop) {
		for _, s := range list {
			fmt.Fprintf(&p.out, "    %s %s %s\n", word, lease(s.Lease), s.Cause)
		}
	}
	stops("hard", rd.Hard)
	stops("stop", rd.Stop)
	for _, g := range rd.Start {
		fmt.Fprintf(&p.out, "    start %s\n", grant(g))
	}
	for _, id := range rd.Forget {
		fmt.Fprintf(&p.out, "    forget %s\n", id)
	}
	for _, c := range rd.Prepare {
		fmt.Fprintf(&p.out, "    prepare %s\n", c.ID)
	}
	if rd.Renew != nil {
		p.said, p.asked = report(rd.Renew), p.now
		fmt.Fprintf(&p.out, "    renew %s\n", p.said)
	}
	for _, a := range rd.Alerts {
		fmt.Fprintf(&p.out, "    alert %s\n", strings.Join(strings.Fields(fmt.Sprint(a.Kind, " ", a.Level, " ", a.Partition, " for ", a.For)), " "))
	}
	if !all {
		return
	}
	p.was = state(&rd)
	fmt.Fprintf(&p.out, "    %s", p.was)
	if !rd.Trusted.IsZero() {
		fmt.Fprintf(&p.out, ", trusted until %s", p.since(rd.Trusted))
	} else if !rd.Until.IsZero() {
		fmt.Fprintf(&p.out, ", alive until %s", p.since(rd.Until))
	}
	if !rd.WakeAt.IsZero() {
		fmt.Fprintf(&p.out, ", wake at %s", p.since(rd.WakeAt))
	}
	p.out.WriteString("\n")
}

func (p *player) held() {
	a := p.m.Assignment()
	fmt.Fprintf(&p.out, "    version %s\n", version(a.Version))
	for _, h := range a.Held {
		fmt.Fprintf(&p.out, "    %s %s", grant(h.Grant), h.Phase)
		if !h.Granted {
			p.out.WriteString(", not granted")
		}
		p.out.WriteString("\n")
	}
}

// state is how things are, without times.
func state(rd *hold.Ready) string {
	s := rd.State.String()
	if rd.Stale {
		s += ", stale"
	}
	if rd.Trusted.IsZero() && !rd.Over {
		s += ", untrusted"
	}
	if rd.Over {
		s += ", over"
	}
	return s
}

func report(r *hold.Report) string {
	s := "applied=" + version(r.Applied)
	leases := func(word string, list []plan.Lease) {
		for i, l := range list {
			s += []string{" " + word + "=", ","}[min(i, 1)] + lease(l)
		}
	}
	leases("draining", r.Draining)
	leases("done", r.Done)
	leases("rejected", r.Rejected)
	leases("given-up", r.GivenUp)
	if r.Highest != r.Applied {
		s += " highest=" + version(r.Highest)
	}
	if r.Running > 0 {
		s += fmt.Sprintf(" running=%d", r.Running)
	}
	if r.Starting > 0 {
		s += fmt.Sprintf(" starting=%d", r.Starting)
	}
	if r.Leaving {
		s += " leaving"
	}
	if r.Left {
		s += " left"
	}
	if r.Resume {
		s += " resume"
	}
	for i, g := range r.Holds {
		s += []string{" holds=", ","}[min(i, 1)] + grant(g)
	}
	return s
}

func grant(g plan.Grant) string { return lease(plan.Lease{Partition: g.ID, Token: g.Token}) }
func lease(l plan.Lease) string { return l.Partition + "@" + version(l.Token) }
func version(v plan.Version) string {
	if v.Incarnation() == 0 {
		return strconv.Itoa(int(v.Number()))
	}
	return v.String()
}

func (p *player) at(s string) time.Time    { return zero.Add(p.duration(s)) }
func (p *player) since(t time.Time) string { return t.Sub(zero).String() }
func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// version reads 7, or 2.1 for the first of the second incarnation.
func (p *player) version(s string) plan.Version {
	a, b, ok := strings.Cut(s, ".")
	if !ok {
		a, b = "0", a
	}
	return plan.MakeVersion(uint32(p.number(a)), uint32(p.number(b)))
}

func (p *player) lease(s string) plan.Lease {
	id, token, _ := strings.Cut(s, "@")
	return plan.Lease{Partition: id, Token: p.version(token)}
}

func (p *player) standing(s string) hold.Standing {
	for k := hold.Gone; k <= hold.Foreign; k++ {
		if k.String() == s {
			return k
		}
	}
	p.t.Fatalf("unknown standing %q", s)
	return 0
}

func (p *player) how(s string) hold.How {
	for h := hold.Returned; h <= hold.Rejected; h++ {
		if h.String() == s {
			return h
		}
	}
	p.t.Fatalf("unknown way to return %q", s)
	return 0
}
