package elect

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
			s := newScript()
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
	m      *Machine
	zero   time.Time
	now    time.Time
	random uint64
	wake   time.Time
	was    string
	trace  []string
}

func newScript() *script {
	zero := time.Unix(0, 0).UTC()
	s := &script{zero: zero, now: zero, random: uint64(5 * time.Millisecond)}
	s.m = New(Config{
		Me: Leader{"me", "n-me"}, LeaderTTL: 12 * time.Second, Heartbeat: time.Second,
		ProbeInterval: 500 * time.Millisecond, ProbeAgain: 100 * time.Millisecond, EmergencyGrace: time.Second,
		Random: func() uint64 { return s.random },
	}, zero)
	return s
}

func (s *script) do(t *testing.T, words []string) {
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	rev := func(i int) kv.Rev {
		n, err := strconv.ParseUint(arg(i), 10, 64)
		if err != nil {
			t.Fatal(words, err)
		}
		return kv.Rev(n)
	}
	span := func(i int) time.Duration {
		d, err := time.ParseDuration(arg(i))
		if err != nil {
			t.Fatal(words, err)
		}
		return d
	}
	switch words[0] {
	case "able":
		s.step(Able{arg(1) == "yes"})
	case "saw":
		s.step(Saw{Leader: Leader{arg(1), "n-" + arg(1)}, Rev: rev(2), Read: arg(3) == "read"})
	case "gone":
		s.step(Gone{Rev: rev(1), Read: arg(2) == "read"})
	case "wrote":
		s.step(Wrote{Rev: rev(1), Sent: s.now})
	case "wrote-late":
		s.step(Wrote{Rev: rev(1), Sent: s.now.Add(-span(2))})
	case "refused":
		s.step(Refused{})
	case "unknown":
		s.step(Unknown{})
	case "ended":
		s.step(Ended{"n-" + arg(1)})
	case "stood":
		s.step(Stood{Nonce: "n-" + arg(1), Rev: rev(2)})
	case "probed":
		s.step(Probed{Nonce: "n-" + arg(1), Outcome: map[string]roster.Probe{
			"answered": roster.Answered, "silent": roster.NoAnswer, "none": roster.NoResponders, "unsent": roster.Unprobed,
		}[arg(2)]})
	case "size":
		s.step(Size{int(rev(1))})
	case "give-up":
		s.step(GiveUp{span(1)})
	case "leave":
		s.step(Leave{})
	case "pass":
		s.pass(span(1))
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
	rd := s.m.Ready()
	s.wake = rd.WakeAt
	say := func(format string, args ...any) {
		s.trace = append(s.trace, fmt.Sprintf("%8v ", s.now.Sub(s.zero))+fmt.Sprintf(format, args...))
	}
	if w := rd.Write; w != nil {
		if w.Remove {
			say("remove the key at %d", w.Last)
		} else {
			say("write the key at %d", w.Last)
		}
	}
	if rd.Write != nil && s.m.Replaced().Nonce != "" {
		r := s.m.Replaced()
		seen := "never"
		if !r.Seen.IsZero() {
			seen = fmt.Sprintf("at %v, at %d", r.Seen.Sub(s.zero), r.Rev)
		}
		say("it replaces %s, answered at %v, deaf since %v, its session read %s", r.Nonce, r.Answered.Sub(s.zero), r.Deaf.Sub(s.zero), seen)
	}
	if rd.Read {
		say("read the key")
	}
	if rd.Probe != "" {
		say("probe %s", rd.Probe)
	}
	if rd.Holder != "" {
		say("read the session of %s", rd.Holder)
	}
	is := fmt.Sprintf("leading %v", rd.Leading)
	if rd.Why != "" {
		is += ": " + rd.Why
	}
	if rd.Out {
		is += ", out"
	}
	if is != s.was {
		say("%s", is)
		s.was = is
	}
}
