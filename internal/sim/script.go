package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A scenario as text: one thing a line, in any order, # begins a comment.
//
//	profile churn
//	seed 17
//	run 6m0s quiet 4m0s
//	set Heartbeat 500ms
//	partitions 1 1 3 1
//	host start=1.5s fence rate=-20000 ttl=10s capacity=5 prepares
//	at 1m2.5s crash 0,2 for 5s n=1
//	claim moves n=3
//	expect 2
//
// Settings that are not set have their defaults. What is expected is the number of
// the promise that the run is known to break; without it none.

// String is one line of the script.
func (f *Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %s %s", f.At, f.Kind)
	for i, h := range f.Who {
		b.WriteByte(" ,"[min(i, 1)])
		b.WriteString(strconv.Itoa(h))
	}
	if f.For > 0 {
		fmt.Fprintf(&b, " for %s", f.For)
	}
	if f.N != 0 {
		fmt.Fprintf(&b, " n=%d", f.N)
	}
	return b.String()
}

// Script is the scenario as text.
func (sc *Scenario) Script() string {
	var b strings.Builder
	if sc.Profile != "" {
		fmt.Fprintf(&b, "profile %s\n", sc.Profile)
	}
	fmt.Fprintf(&b, "seed %d\nrun %s quiet %s\n", sc.Seed, sc.Run, sc.Quiet)
	def := reflect.ValueOf(DefaultSettings())
	now := reflect.ValueOf(sc.Settings)
	for i := range now.NumField() {
		if !now.Field(i).Equal(def.Field(i)) {
			fmt.Fprintf(&b, "set %s %v\n", now.Type().Field(i).Name, now.Field(i).Interface())
		}
	}
	b.WriteString("partitions")
	for _, weight := range sc.Weights {
		fmt.Fprintf(&b, " %d", weight)
	}
	b.WriteByte('\n')
	for _, h := range sc.Hosts {
		fmt.Fprintf(&b, "host start=%s", h.Start)
		if h.Fence {
			b.WriteString(" fence")
		}
		if h.TTL != 0 {
			fmt.Fprintf(&b, " ttl=%s", h.TTL)
		}
		for _, x := range []struct {
			word string
			n    int64
		}{{"rate", int64(h.Rate)}, {"share", h.Share}, {"capacity", h.Capacity}, {"twin", int64(h.Twin)}} {
			if x.n != 0 {
				fmt.Fprintf(&b, " %s=%d", x.word, x.n)
			}
		}
		for _, x := range []struct {
			word string
			is   bool
		}{{"prepares", h.Prepares}, {"idle", h.Idle}, {"follows", h.Follows}} {
			if x.is {
				b.WriteString(" " + x.word)
			}
		}
		b.WriteByte('\n')
	}
	for _, c := range sc.Claims {
		fmt.Fprintf(&b, "claim %s", c.Kind)
		if c.N != 0 {
			fmt.Fprintf(&b, " n=%d", c.N)
		}
		if c.D != 0 {
			fmt.Fprintf(&b, " d=%s", c.D)
		}
		b.WriteByte('\n')
	}
	for i := range sc.Faults {
		fmt.Fprintln(&b, sc.Faults[i].String())
	}
	if sc.Expect != 0 {
		fmt.Fprintf(&b, "expect %d\n", int(sc.Expect))
	}
	return b.String()
}

// Parse reads a script.
func Parse(r io.Reader) (*Scenario, error) {
	sc := &Scenario{Settings: DefaultSettings()}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := sc.line(words[0], words[1:]); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(sc.Hosts) == 0 || sc.Run == 0 {
		return nil, errors.New("a script names at least one host and how long it runs")
	}
	for i := range sc.Faults { // hosts may stand below what befalls them
		f := &sc.Faults[i]
		for _, h := range f.Who {
			if h < 0 || h >= len(sc.Hosts) {
				return nil, fmt.Errorf("%s: there is no host %d: it is 0 to %d", f, h, len(sc.Hosts)-1)
			}
		}
	}
	return sc, lines.Err()
}

func (sc *Scenario) line(what string, words []string) (err error) {
	p := parser{words: words}
	switch what {
	case "profile":
		sc.Profile = p.word()
	case "seed":
		sc.Seed = uint64(p.number())
	case "run":
		sc.Run = p.duration()
		p.literal("quiet")
		sc.Quiet = p.duration()
	case "set":
		p.set(&sc.Settings)
	case "partitions":
		for len(p.words) > 0 {
			sc.Weights = append(sc.Weights, p.number())
		}
	case "host":
		sc.Hosts = append(sc.Hosts, p.host())
	case "at":
		f := Fault{At: p.duration(), Kind: Kind(p.word())}
		if !slices.Contains(Kinds, f.Kind) {
			p.fail("unknown fault %q", f.Kind)
		}
		p.fault(&f)
		if f.N < 0 && f.Kind != Skew { // an amount, or which partition; but a clock may also run slower
			p.fail("%s n=%d: it is 0 or more", f.Kind, f.N)
		}
		sc.Faults = append(sc.Faults, f)
	case "claim":
		c := Claim{Kind: ClaimKind(p.word())}
		if !slices.Contains(claims, c.Kind) {
			p.fail("unknown claim %q", c.Kind)
		}
		for k, v := range p.pairs() {
			switch k {
			case "n":
				c.N = int(p.parse(v))
			case "d":
				c.D = p.span(v)
			default:
				p.fail("unknown word %q", k)
			}
		}
		sc.Claims = append(sc.Claims, c)
	case "expect":
		sc.Expect = Promise(p.number())
	default:
		p.fail("unknown line %q", what)
	}
	if p.err == nil && len(p.words) > 0 {
		p.fail("what is %q?", p.words[0])
	}
	return p.err
}

// A parser takes words from the front and keeps the first error.
type parser struct {
	words []string
	err   error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.words = nil
}

func (p *parser) word() string {
	if len(p.words) == 0 {
		p.fail("a word is missing")
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *parser) literal(want string) {
	if w := p.word(); w != want {
		p.fail("%q instead of %q", w, want)
	}
}

func (p *parser) parse(w string) int64 {
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil {
		p.fail("%q is no number", w)
	}
	return n
}

func (p *parser) span(w string) time.Duration {
	d, err := time.ParseDuration(w)
	if err != nil {
		p.fail("%q is no duration", w)
	}
	return d
}

func (p *parser) number() int64           { return p.parse(p.word()) }
func (p *parser) duration() time.Duration { return p.span(p.word()) }

// pairs takes the rest: words, or name=value.
func (p *parser) pairs() map[string]string {
	m := map[string]string{}
	for len(p.words) > 0 {
		k, v, _ := strings.Cut(p.word(), "=")
		m[k] = v
	}
	return m
}

func (p *parser) host() (h Host) {
	pairs := p.pairs()
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		switch v := pairs[k]; k {
		case "start":
			h.Start = p.span(v)
		case "fence":
			h.Fence = true
		case "ttl":
			h.TTL = p.span(v)
		case "rate":
			h.Rate = int(p.parse(v))
		case "share":
			h.Share = p.parse(v)
		case "capacity":
			h.Capacity = p.parse(v)
		case "twin":
			h.Twin = int(p.parse(v))
		case "prepares":
			h.Prepares = true
		case "idle":
			h.Idle = true
		case "follows":
			h.Follows = true
		default:
			p.fail("unknown word %q", k)
		}
	}
	return h
}

func (p *parser) fault(f *Fault) {
	for len(p.words) > 0 {
		switch w := p.word(); {
		case w == "for":
			f.For = p.duration()
		case strings.HasPrefix(w, "n="):
			f.N = int(p.parse(w[2:]))
		default:
			for h := range strings.SplitSeq(w, ",") {
				f.Who = append(f.Who, int(p.parse(h)))
			}
		}
	}
}

func (p *parser) set(s *Settings) {
	name := p.word()
	field := reflect.ValueOf(s).Elem().FieldByName(name)
	switch {
	case !field.IsValid():
		p.fail("unknown setting %q", name)
	case field.Type() == reflect.TypeFor[time.Duration]():
		field.SetInt(int64(p.duration()))
	default:
		field.SetInt(p.number())
	}
}
