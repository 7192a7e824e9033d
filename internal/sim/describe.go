package sim

import (
	"fmt"
	"strings"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

func describeKey(k member.Key) string { return k.String() }

// describe is a record in one line of the trace.
func describe(r member.Record) string {
	if r.Gone {
		return "gone"
	}
	switch v := r.Value.(type) {
	case roster.Session:
		var b strings.Builder
		fmt.Fprintf(&b, "%s applied=%s highest=%s running=%d", v.Nonce, v.Applied, v.Highest, v.Running)
		if len(v.Draining) > 0 {
			fmt.Fprintf(&b, " draining=%s", leases(v.Draining))
		}
		if len(v.Done)+len(v.Rejected) > 0 {
			fmt.Fprintf(&b, " done=%s rejected=%s", leases(v.Done), leases(v.Rejected))
		}
		if v.Resumed {
			fmt.Fprintf(&b, " resumed holds=%s", grantsOf(v.Holds))
		}
		if v.Leaving || v.Left {
			fmt.Fprintf(&b, " leaving=%v left=%v", v.Leaving, v.Left)
		}
		if v.Previous.Nonce != "" {
			fmt.Fprintf(&b, " after=%s:%s", v.Previous.Nonce, v.Previous.End)
		}
		if v.Tombstone != nil {
			fmt.Fprintf(&b, " TOMBSTONE %s", v.Tombstone.Why)
		}
		return b.String()
	case plan.Slice:
		var b strings.Builder
		fmt.Fprintf(&b, "v%s for %s granted=%s", v.Version, v.Session, grantsOf(v.Granted))
		for _, x := range v.Releasing {
			fmt.Fprintf(&b, " releasing %s@%s since %s to %s", x.ID, x.Token, x.Since, x.Next)
		}
		return b.String()
	case plan.Head:
		return fmt.Sprintf("v%s term %d by %s/%s phase %s because %s unassigned=%d releasing=%d", v.Version, v.Term, v.Leader, v.Session, v.Phase, v.Why, v.Unassigned, v.Releasing)
	case plan.Decision:
		return fmt.Sprintf("v%s because %s (%s), %d moves, waited %s", v.Version, v.Why, v.About, len(v.Moves), v.Waited.Duration())
	}
	return fmt.Sprintf("%+v", r.Value)
}

func leases(ls []plan.Lease) string {
	var b strings.Builder
	for i, l := range ls {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s@%d", l.Partition, l.Token.Number())
	}
	return b.String()
}

func grantsOf(gs []plan.Grant) string {
	ls := make([]plan.Lease, len(gs))
	for i, g := range gs {
		ls[i] = plan.Lease{Partition: g.ID, Token: g.Token}
	}
	return leases(ls)
}

// Timeline picks the lines of a trace that tell what became of one partition, and
// the faults.
func Timeline(trace []string, partition string) []string {
	var out []string
	for _, line := range trace {
		if strings.Contains(line, "!!") || strings.Contains(line, "over:") || strings.Contains(line, "VIOLATION") || strings.Contains(line, "TOMBSTONE") ||
			strings.Contains(line, "ledger:") || strings.Contains(line, "process") || partition != "" && strings.Contains(line, partition) {
			out = append(out, line)
		}
	}
	return out
}
