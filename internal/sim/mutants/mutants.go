// Package mutants tests the tests: it takes every safety rule of the brains away in
// turn and asserts that the simulator notices.
//
// A mutant is a change of a few words in one or two source files, built with go's
// -overlay, so that nothing in the tree is touched. The words to be replaced must
// stand in the file exactly once: a rule that is rewritten breaks its mutant, which
// must then be rewritten too, and cannot be forgotten.
package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Mutant is one rule taken away.
type Mutant struct {
	Rule  string
	Edits []Edit
	// Breaks are the promises of which it must break one: what is to be seen.
	Breaks []int
	// Profiles are the fleets to try, Seeds how many of each at most.
	Profiles string
	Seeds    int
	// Package is set where another rule stands behind this one, so that no fleet can
	// show that it is missing: then the tests of that package must notice.
	Package string
}

// An Edit replaces words in a file, named from the root of the repository.
type Edit struct{ File, Old, New string }

// Overlay writes the changed files into dir and returns the path of the file that
// go's -overlay reads.
func (m *Mutant) Overlay(root, dir string) (string, error) {
	changed := map[string]string{}
	for _, e := range m.Edits {
		path := filepath.Join(root, filepath.FromSlash(e.File))
		text, ok := changed[path]
		if !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return "", fmt.Errorf("%s: %q stands there %d times, and must once: the rule was rewritten, rewrite its mutant", e.File, e.Old, n)
		}
		changed[path] = strings.Replace(text, e.Old, e.New, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	n := 0
	for path, text := range changed {
		n++
		file := filepath.Join(dir, fmt.Sprintf("%d.go", n))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[path] = file
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, b, 0o600)
}

// All are the mutants.
var All = []Mutant{
	// What a worker may run.
	{
		Rule:     "trust ends a margin before the TTL",
		Edits:    []Edit{{"internal/hold/machine.go", "trust{length: cfg.TTL - cfg.Margin}", "trust{length: cfg.TTL}"}},
		Profiles: "fastclock", Breaks: []int{3}, Seeds: 100,
	},
	{
		Rule:     "trust counts from when the renewal was sent",
		Edits:    []Edit{{"internal/hold/renew.go", "m.trust.renewed(m.now, sent)", "m.trust.renewed(m.now, m.now)"}},
		Profiles: "slowfence", Breaks: []int{3}, Seeds: 200,
	},
	{
		Rule:     "a fencing worker stops when its trust ends",
		Edits:    []Edit{{"internal/hold/isolation.go", "\t\tcase !trusted:\n\t\t\treturn closed\n", "\t\tcase !trusted:\n\t\t\treturn open\n"}},
		Profiles: "fence", Breaks: []int{3}, Seeds: 60,
	},
	{
		Rule:     "a jump of the clock ends trust",
		Edits:    []Edit{{"internal/hold/isolation.go", "\tm.trust.jumped(m.now)\n", ""}},
		Profiles: "clocks,fence", Breaks: []int{3}, Seeds: 200,
	},
	{
		Rule:     "a polite stop under way is cut short when trust ends",
		Edits:    []Edit{{"internal/hold/runs.go", "if all > r.end {", "if all > r.end && r.end == open {"}},
		Profiles: "fencedrain", Breaks: []int{3}, Seeds: 200,
	},
	{
		Rule:     "a drain that takes too long is cut short",
		Edits:    []Edit{{"internal/hold/runs.go", "if r.end == closing && !m.now.Before(r.asked.Add(m.cfg.DrainTimeout)) {", "if false {"}},
		Profiles: "handlers", Breaks: []int{7, 8}, Seeds: 60,
	},
	{
		Rule:     "a slice is addressed to one session",
		Edits:    []Edit{{"internal/hold/slice.go", "case s.Session != m.cfg.Nonce:", "case false:"}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 60,
	},
	{
		Rule: "an older slice changes nothing after a newer",
		Edits: []Edit{
			{"internal/hold/slice.go", "case s.Version < m.applied:", "case false:"},
			{"internal/member/watch.go", "r.Rev < w.slice.rev || r.Rev == w.slice.rev && !read", "r.Rev == w.slice.rev && !read"},
		},
		Profiles: "stale", Breaks: []int{2}, Seeds: 200,
	},
	{
		Rule:     "who leaves starts nothing any more",
		Edits:    []Edit{{"internal/hold/runs.go", "case m.lost, m.leaving: // nothing", "case m.lost: // nothing"}},
		Profiles: "churn", Breaks: []int{2, 24}, Seeds: 60,
	},
	{
		Rule:     "who finds its worker ID in other hands stops",
		Edits:    []Edit{{"internal/hold/isolation.go", "\tcase Tombstone, Foreign:\n", "\tcase Foreign:\n\tcase Tombstone:\n"}},
		Profiles: "spares", Breaks: []int{3, 20}, Seeds: 150,
	},
	{
		Rule:    "a renewal that is found stored extends no trust",
		Edits:   []Edit{{"internal/hold/isolation.go", "\t\tm.stored(m.renewal.asked)\n", "\t\tm.stored(m.renewal.asked)\n\t\tm.trust.renewed(m.now, m.now)\n"}},
		Package: "./internal/hold", // the handlers of a fleet return sooner than that
	},
	{
		Rule:    "after a lapse nothing starts before the own slice was heard again",
		Edits:   []Edit{{"internal/hold/runs.go", "case m.stale: // the truth first", "case false: // the truth first"}},
		Package: "./internal/hold", // under Fence nothing is left to start, and under Freeze it was seldom ended
	},
	{
		Rule:    "under Fence leases end with the trust",
		Edits:   []Edit{{"internal/hold/isolation.go", "\tif !m.cfg.Fence {\n\t\treturn\n\t}\n\tm.givenUp++", "\tif true {\n\t\treturn\n\t}\n\tm.givenUp++"}},
		Package: "./internal/hold", // it takes a store that goes back meanwhile
	},
	{
		Rule:    "under Fence no session resumes",
		Edits:   []Edit{{"internal/hold/isolation.go", "case m.cfg.Fence: // silence is death", "case false: // silence is death"}},
		Package: "./internal/hold", // its handlers have ended by then
	},
	{
		Rule:    "what a store accepts that went back extends no trust",
		Edits:   []Edit{{"internal/member/session.go", "if a.proof { // the store", "if false { // the store"}},
		Package: "./internal/member", // the store is made anew at once
	},
	{
		Rule:    "one handler of a partition at a time",
		Edits:   []Edit{{"internal/hold/runs.go", "case s.run != nil: // one run", "case s.run != nil && s.run.grant.Token == s.grant.Token: // one run"}},
		Package: "./internal/hold", // the leader does not grant before the receipt
	},

	{
		Rule:    "each session of an identity is asked before one is taken over",
		Edits:   []Edit{{"internal/join/ask.go", "return m.cfg.Strict && slices.ContainsFunc", "return false && slices.ContainsFunc"}},
		Package: "./internal/join", // the simulator gives no two processes one identity
	},

	// What a worker says.
	{
		Rule:     "last words are never over a running handler",
		Edits:    []Edit{{"internal/hold/report.go", "rep.Left = m.leaving && !m.lapsing && rep.Running == 0", "rep.Left = m.leaving && !m.lapsing"}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 60,
	},
	{
		Rule:     "what still drains is listed",
		Edits:    []Edit{{"internal/hold/report.go", "if m.leaving || !s.grants(r.grant.Token) {", "if m.leaving {"}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 60,
	},
	{
		Rule:     "a session resumes only where the plan still names it",
		Edits:    []Edit{{"internal/hold/isolation.go", "case f.Plan && !f.Mine:", "case false:"}},
		Profiles: "losses", Breaks: []int{2}, Seeds: 200,
	},
	{
		Rule:    "a session that cannot be renewed looks whether it has ended",
		Edits:   []Edit{{"internal/member/session.go", "if look && !s.now.Before(s.look) {", "if false {"}},
		Package: "./internal/member", // no fleet of the simulator lacks a right
	},

	// What a leader concludes.
	{
		Rule: "a tombstone is conditional: a late renewal wins",
		Edits: []Edit{{
			"internal/member/term.go", "\t\tcase Stale:\n\t\t\tt.missed(s)\n",
			"\t\tcase Stale:\n\t\t\tt.get(t.life, rec.Key, func(r Record) { v.Rev = r.Rev; t.bury(v, s, tries) })\n",
		}},
		Profiles: "network,fence", Breaks: []int{1, 2, 3}, Seeds: 400,
	},
	{
		Rule:     "silence is not an end before its tombstone stands",
		Edits:    []Edit{{"internal/roster/detect.go", "\tm.judged, m.Verdict = true, why\n", "\tm.judged, m.Verdict = true, why\n\tr.end(m.Session.Nonce, EndConcluded)\n"}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 60,
	},
	{
		Rule:     "nothing is granted before the receipt",
		Edits:    []Edit{{"internal/lead/evidence.go", "case p.state != releasing || s.Applied < p.since:", "case p.state != releasing:"}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 60,
	},
	{
		Rule:     "a receipt names the lease: what still drains is not released",
		Edits:    []Edit{{"internal/lead/evidence.go", "\treturn !has(s.Draining, p), how\n", "\treturn true, how\n"}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 60,
	},
	{
		Rule:     "a receipt is of the session that has the lease",
		Edits:    []Edit{{"internal/lead/evidence.go", "if y == nil || y.Session.Nonce != x.session {", "if y == nil {"}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 200,
	},
	{
		Rule:     "a receipt counts the version of the own slice, not of the plan",
		Edits:    []Edit{{"internal/lead/evidence.go", "s.Applied < p.since:", "s.Highest < p.since:"}},
		Profiles: "stale,network,churn", Breaks: []int{2}, Seeds: 300,
	},
	{
		Rule: "an expiry is no proof",
		Edits: []Edit{{
			"internal/roster/roster.go", "\tm.Rev, m.gone, m.judged = rev, true, false\n",
			"\tm.Rev, m.gone, m.judged = rev, true, false\n\tr.end(m.Session.Nonce, EndConcluded)\n",
		}},
		Profiles: "store", Breaks: []int{2}, Seeds: 100,
	},
	{
		Rule: "a successor under the same ID is no proof",
		Edits: []Edit{{
			"internal/roster/roster.go", "\tr.next = time.Time{}\n}\n\n// A Silence is",
			"\tr.next = time.Time{}\n\tr.end(m.Session.Nonce, EndConcluded)\n}\n\n// A Silence is",
		}},
		Profiles: "churn", Breaks: []int{2}, Seeds: 60,
	},
	{
		Rule:     "silence counts the session's own TTL, not the leader's",
		Edits:    []Edit{{"internal/roster/detect.go", "ttl := m.Session.TTL.Duration()", "ttl := r.cfg.TTL"}},
		Profiles: "fence", Breaks: []int{3}, Seeds: 200,
	},
	{
		Rule:    "what was known of a leader's session counts only if it has not renewed since",
		Edits:   []Edit{{"internal/roster/roster.go", "!s.Seen.IsZero() && s.Rev == m.Rev && !m.gone", "!s.Seen.IsZero()"}},
		Package: "./internal/roster", // who has lost the leader's key and its probes still renews for a moment only
	},
	{
		Rule:     "a displaced session is given its own TTL, not the leader's",
		Edits:    []Edit{{"internal/roster/roster.go", "now.Add(m.Session.TTL.Duration())}", "now.Add(r.cfg.TTL)}"}},
		Profiles: "churn,fence", Breaks: []int{2, 3}, Seeds: 200,
	},

	{
		Rule:     "nothing is granted to who has taken a worker ID before the one who had it has ended",
		Edits:    []Edit{{"internal/lead/assign.go", "(x.session == y.Session.Nonce || m.vacant(x)) && ", ""}},
		Profiles: "churn,fence", Breaks: []int{2, 4}, Seeds: 200,
	},
	{
		Rule:    "no tombstone is written where an earlier session may still run",
		Edits:   []Edit{{"internal/roster/detect.go", "if r.Displaced(m.Session.Worker) {", "if false {"}},
		Package: "./internal/roster", // it takes two crashes of one worker, and no leader in between
	},
	{
		Rule:    "nobody listens is a sign only of those who have answered",
		Edits:   []Edit{{"internal/roster/detect.go", "if !m.deaf.IsZero() && m.answered { // it had", "if !m.deaf.IsZero() { // it had"}},
		Package: "./internal/roster", // a late renewal wins over the tombstone
	},
	{
		Rule:    "after an interruption nobody is declared lost",
		Edits:   []Edit{{"internal/roster/doubt.go", "\tr.begin(now, \"the connection to the store was interrupted\")\n", ""}},
		Package: "./internal/roster", // a late renewal wins over the tombstone
	},

	// What a leader writes.
	{
		Rule: "a plan is conditional on the one before",
		Edits: []Edit{
			{"internal/member/commit.go", "\tdefault:\n\t\t\tby := \"somebody else\"", "\tcase ok:\n\t\t\tl.base = r.Rev\n\t\t\tl.again(true)\n\t\tdefault:\n\t\t\tby := \"somebody else\""},
			{"internal/member/commit.go", "if c.Decision != nil {\n\t\tname", "if false {\n\t\tname"}, // its key is a condition, too
		},
		Profiles: "twoleaders,leaders", Breaks: []int{1, 2, 4}, Seeds: 300,
	},
	{
		Rule: "a commit is conditional on the leader's own last one",
		Edits: []Edit{{
			"internal/member/commit.go",
			"\tputs = append(puts, Put{Record: Record{Key: Key{KindChain, l.term.me.Nonce}, Rev: l.chain, Value: c.Head.Version}})\n", "",
		}},
		Package: "./internal/member", // the head must come to stand at the very revision that it had
	},
	{
		Rule:     "a commit has no more writes than the server takes",
		Edits:    []Edit{{"internal/lead/advance.go", "return max(1, m.cfg.MaxBatch-otherPuts)", "return 1000"}},
		Profiles: "unlike", Breaks: []int{8}, Seeds: 60,
	},
	{
		Rule:     "a partition changes hands in a commit that has room for both slices",
		Edits:    []Edit{{"internal/lead/advance.go", "return x.touched || m.touched < m.slicesAtOnce()", "return true"}},
		Profiles: "unlike", Breaks: []int{2}, Seeds: 100,
	},
	{
		Rule:     "nobody is granted more than it has room for",
		Edits:    []Edit{{"internal/lead/advance.go", "c > 0 && x.weight+p.Load() > c {", "c > 0 && false {"}},
		Profiles: "capacity", Breaks: []int{23}, Seeds: 200,
	},
	{
		Rule: "a refusal ends the term",
		Edits: []Edit{
			{"internal/member/commit.go", "\tdefault:\n\t\t\tby := \"somebody else\"", "\tcase ok:\n\t\t\tl.again(false)\n\t\tdefault:\n\t\t\tby := \"somebody else\""},
			{"internal/member/commit.go", "\t\tt.end(\"a commit has had no outcome for \"+(t.cfg.LeaderTTL/2).String(), t.cfg.backOff())\n", ""},
		},
		Package: "./internal/member", // a leader that is refused soon finds that it has lost its key, too
	},
	{
		Rule:     "versions, and so tokens, are above everything that anybody has seen",
		Edits:    []Edit{{"internal/lead/advance.go", "v := max(m.head.Version, m.highest, plan.MakeVersion(m.inc, 0))", "v := m.head.Version"}},
		Profiles: "losses", Breaks: []int{1, 4}, Seeds: 60,
	},
	{
		Rule:    "of two that hold a lease the younger is adopted",
		Edits:   []Edit{{"internal/lead/evidence.go", "if p.state != free && (p.token >= g.Token || p.token.Incarnation() >= m.inc) {", "if false {"}},
		Package: "./internal/lead", // it takes a rare meeting: one seed in some thousands
	},
	{
		Rule:     "after a loss nothing is granted that may still run out of sight",
		Edits:    []Edit{{"internal/lead/decide.go", "if m.now.Before(w.adoptUntil) {", "if false {"}},
		Profiles: "losses", Breaks: []int{2, 3}, Seeds: 60,
	},

	{
		Rule:    "what a listing lacks is not taken for gone",
		Edits:   []Edit{{"internal/member/term.go", "len(t.found.Slices) < n {", "false {"}},
		Package: "./internal/member", // no network loses keys of a listing; a store that is broken may
	},

	// Liveness.
	{
		Rule:    "a partition that two owners crashed with goes to a third",
		Edits:   []Edit{{"internal/lead/quarantine.go", "if len(p.crashed) < blameOwners-1 {", "if true {"}},
		Package: "./internal/lead", // profiles poison none for long enough; TestPattern_CascadingFailures_Contained_Poison sees it
	},
	{
		Rule:     "what goes to a third leaves the group even",
		Edits:    []Edit{{"internal/lead/assign.go", "to, diverted := m.avoid(&f, in, which, to, moves)", "diverted := false"}},
		Profiles: "oneatatime", Breaks: []int{10}, Seeds: 400, // it is evened out later
	},
	{
		Rule:    "what must not go where the strategy wants it leaves the group even",
		Edits:   []Edit{{"internal/lead/assign.go", "m.refused(p, w) || now < 0 && m.crashes(p, w)", "now < 0 && m.crashes(p, w)"}},
		Package: "./internal/lead", // fleets with bans are not asked to be even
	},
	{
		Rule:    "what was rejected does not go back to who rejected it",
		Edits:   []Edit{{"internal/lead/assign.go", "return slices.Contains(p.shun, w) || m.banned(p, w)", "return m.banned(p, w)"}},
		Package: "./internal/lead", // it is rejected again, and that is all
	},
	{
		Rule:    "where workers are lost for other reasons, a partition is not blamed for being there",
		Edits:   []Edit{{"internal/lead/quarantine.go", "blameShare*len(p.crashed) < m.losses-p.calm", "false"}},
		Package: "./internal/lead", // it matters to one partition in a hundred, for a minute
	},
	{
		Rule:    "on trial, a partition is not blamed for one loss of many",
		Edits:   []Edit{{"internal/lead/quarantine.go", "len(p.crashed) == 0 && !trial {", "len(p.crashed) == 0 {"}},
		Package: "./internal/lead", // it prolongs a quarantine
	},
	{
		Rule:     "orphans do not wait for a window",
		Edits:    []Edit{{"internal/lead/decide.go", "urgent, why := m.urgent(&fleet); urgent {", "urgent, why := m.urgent(&fleet); urgent && w.planned == nil {"}},
		Profiles: "crash", Breaks: []int{7}, Seeds: 60,
	},
	{
		Rule:     "a new leader evens out what the former one would have",
		Edits:    []Edit{{"internal/lead/decide.go", "\tdefault:\n\t\tm.lookLater()", "\tdefault:"}},
		Profiles: "leaders", Breaks: []int{24}, Seeds: 120,
	},
	{
		Rule:     "who was suspect when the others were evened out is thought of later",
		Edits:    []Edit{{"internal/lead/decide.go", "m.keeps(x) && !m.takes(x) &&", "false &&"}},
		Profiles: "network", Breaks: []int{24}, Seeds: 120,
	},
	{
		Rule:     "what had to be placed at once is evened out later",
		Edits:    []Edit{{"internal/lead/decide.go", "\t\tm.lookLater() // what had", "\t\t// what had"}},
		Profiles: "fence", Breaks: []int{24}, Seeds: 60,
	},
	{
		Rule:     "what a stopped worker had waits for its successor",
		Edits:    []Edit{{"internal/lead/evidence.go", "if m.cfg.RestartGrace <= 0 || p.state != granted ||", "if true || m.cfg.RestartGrace <= 0 || p.state != granted ||"}},
		Profiles: "restart", Breaks: []int{10}, Seeds: 20,
	},
	{
		Rule:     "a spare is told when a worker ID is free",
		Edits:    []Edit{{"internal/member/ready.go", "case c.rd.Spare:", "case false:"}},
		Profiles: "spares", Breaks: []int{7, 8, 20}, Seeds: 100,
	},
	{
		Rule:     "a source that fails changes nothing",
		Edits:    []Edit{{"internal/lead/listing.go", "\tm.alerts.set(\"source\", \"the source cannot be listed: \"+reason+\"; the plan stays as it is\")\n", "\tm.take(nil)\n"}},
		Profiles: "source", Breaks: []int{6}, Seeds: 60,
	},
	{
		Rule:     "what is banned from a worker does not go there",
		Edits:    []Edit{{"internal/lead/assign.go", "\t\t\tcase m.banned(p, w):\n", "\t\t\tcase false:\n"}},
		Profiles: "orders", Breaks: []int{25}, Seeds: 150,
	},
	{
		Rule:     "who is drained keeps nothing",
		Edits:    []Edit{{"internal/lead/assign.go", "\tif m.controls.drained[x.id] {\n\t\treturn false\n\t}\n", ""}},
		Profiles: "orders", Breaks: []int{25}, Seeds: 60,
	},
	{
		Rule:     "who is cordoned is given nothing new",
		Edits:    []Edit{{"internal/lead/assign.go", "NoNew: !m.takes(x) || m.controls.cordoned[x.id]}", "NoNew: !m.takes(x)}"}},
		Profiles: "orders", Breaks: []int{25}, Seeds: 200,
	},
	{
		Rule:     "what is pinned is where it is pinned to",
		Edits:    []Edit{{"internal/lead/controls.go", "\t\t\tpins[k] = x\n", "\t\t\t_ = x\n"}},
		Profiles: "orders", Breaks: []int{25}, Seeds: 100,
	},
	{
		Rule:     "a process ends for a handler that is stuck, and for no other",
		Edits:    []Edit{{"internal/member/exit.go", "if token == 0 || token != c.Token {", "if false {"}},
		Profiles: "stuck", Breaks: []int{25}, Seeds: 30,
	},
	{
		Rule:     "a listing that drops more than half needs a second that agrees",
		Edits:    []Edit{{"internal/lead/listing.go", "return before > 0 && 2*kept < before", "return false"}},
		Profiles: "source", Breaks: []int{6}, Seeds: 150,
	},
}
