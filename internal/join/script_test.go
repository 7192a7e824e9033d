package join

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

var rewrite = flag.Bool("rewrite", false, "write what scripts say into testdata")

// A script is blocks of commands, each with what they led to below "----". Lines
// that begin with # are kept.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newScript(strings.Contains(file, "strict"))
			var out []string
			for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
				in, _, _ := strings.Cut(block, "\n----")
				s.trace = nil
				for line := range strings.SplitSeq(in, "\n") {
					if !strings.HasPrefix(line, "#") {
						s.do(t, strings.Fields(line))
					}
				}
				out = append(out, strings.Join(append([]string{in, "----"}, s.trace...), "\n"))
			}
			got := strings.Join(out, "\n\n") + "\n"
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s differs; see what -rewrite changes:\n%s", file, got)
			}
		})
	}
}

type script struct {
	m     *Machine
	zero  time.Time
	now   time.Time
	dice  []uint64 // what Random returns next; then 0
	wake  time.Time
	was   string
	trace []string
}

func newScript(strict bool) *script {
	zero := time.Unix(0, 0).UTC()
	s := &script{zero: zero, now: zero}
	s.m = New(Config{
		Prefix: "w", MaxWorkers: 4, Identity: "me", Strict: strict,
		EmergencyGrace: time.Second, LostAfter: 6 * time.Second,
		ProbeInterval: 500 * time.Millisecond, ProbeAgain: 100 * time.Millisecond, Again: 5 * time.Second,
		ComeBack: 2 * time.Second,
		Random: func() uint64 {
			if len(s.dice) == 0 {
				return 0
			}
			n := s.dice[0]
			s.dice = s.dice[1:]
			return n
		},
	}, zero)
	return s
}

// held reads "w-3:identity:7:left": worker ID, whose, revision, and what it says.
// Its nonce is the identity's and the worker's; "again" is the successor's. "w-3" alone
// is a name.
func held(t *testing.T, word string) Held {
	f := strings.Split(word, ":")
	if len(f) == 1 {
		return Held{Worker: word}
	}
	if len(f) != 4 {
		t.Fatalf("no session: %q", word)
	}
	rev, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	h := Held{Worker: f[0], Rev: kv.Rev(rev), Session: roster.Session{
		Worker: f[0], Identity: f[1], Nonce: f[1] + "/" + f[0], Host: "host-of-" + f[1], TTL: 15_000,
	}}
	switch f[3] {
	case "live":
	case "left":
		h.Session.Left = true
	case "tomb":
		h.Session.Tombstone = &roster.Tombstone{}
	case "bad":
		h.Unreadable = true
	default:
		t.Fatalf("no such end: %q", word)
	}
	return h
}

func (s *script) do(t *testing.T, words []string) {
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(words[i], 10, 64)
		if err != nil {
			t.Fatal(words, err)
		}
		return n
	}
	switch words[0] {
	case "dice":
		for i := range words[1:] {
			s.dice = append(s.dice, number(i+1))
		}
	case "start":
		s.ready()
	case "survey":
		var f Surveyed
		for _, w := range words[1:] {
			switch w {
			case "plan":
				f.Plan = true
			case "leader":
				f.Leader = true
			case "adopting":
				f.Plan, f.Adopting = true, true
			default:
				f.Sessions = append(f.Sessions, held(t, w))
			}
		}
		s.step(f)
	case "looked":
		l := Looked{Worker: words[1]}
		if len(words) > 2 {
			l.Nonce, l.Leases = words[2], int(number(3))
		}
		s.step(l)
	case "saw":
		s.step(Saw{held(t, words[1])})
	case "gone":
		s.step(Gone{words[1], kv.Rev(number(2))})
	case "followed":
		s.step(Followed{})
	case "probed":
		s.step(Probed{Nonce: words[1], Outcome: map[string]roster.Probe{
			"answered": roster.Answered, "silent": roster.NoAnswer, "none": roster.NoResponders, "unsent": roster.Unprobed,
		}[words[2]]})
	case "nobody-for": // every probe has no responders
		d, err := time.ParseDuration(words[2])
		if err != nil {
			t.Fatal(err)
		}
		for end := s.now.Add(d); s.now.Before(end) && s.m.at == asking; {
			s.step(Probed{Nonce: words[1], Outcome: roster.NoResponders})
			s.pass(min(100*time.Millisecond, end.Sub(s.now)))
		}
	case "claimed":
		s.step(Claimed{})
	case "refused":
		s.step(Refused{})
	case "pass":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		s.pass(d)
	default:
		t.Fatalf("no such command: %q", words)
	}
}

// pass lets time pass, and steps whenever the machine asked for it.
func (s *script) pass(d time.Duration) {
	end := s.now.Add(d)
	for !s.wake.IsZero() && !s.wake.After(end) {
		if s.wake.After(s.now) {
			s.now = s.wake
		}
		before := s.wake
		s.step(Tick{})
		if s.wake.Equal(before) {
			s.trace = append(s.trace, "  TIME DOES NOT PASS")
			break
		}
	}
	s.now = end
}

func (s *script) step(f Fact) {
	s.m.Step(s.now, f)
	s.ready()
}

func (s *script) ready() {
	rd := s.m.Ready()
	s.wake = rd.WakeAt
	say := func(format string, args ...any) {
		s.trace = append(s.trace, fmt.Sprintf("%8v ", s.now.Sub(s.zero))+fmt.Sprintf(format, args...))
	}
	switch {
	case rd.Survey && rd.Names:
		say("survey names")
	case rd.Survey:
		say("survey")
	default: // nothing is to be read
	}
	if len(rd.Look) > 0 {
		say("look at %s", strings.Join(rd.Look, " "))
	}
	if rd.Probe != "" {
		say("probe %s", rd.Probe)
	}
	if c := rd.Claim; c != nil {
		say("claim %s at %d, after %q (%v)", c.Worker, c.Last, c.Previous.Nonce, c.Previous.End)
	}
	var is []string
	if rd.Watch != "" {
		is = append(is, "watching "+rd.Watch)
	}
	if rd.Spare {
		is = append(is, "spare")
	}
	if rd.Claimed {
		is = append(is, fmt.Sprintf("claimed with %d tries", s.m.Tries()))
	}
	if rd.Err != nil {
		is = append(is, rd.Err.Error())
	}
	if now := strings.Join(is, ", "); now != s.was {
		if s.was = now; now != "" {
			say("%s", now)
		}
	}
}
