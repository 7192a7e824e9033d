package demo

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// SummarySchema numbers the form of a Summary as JSON.
const SummarySchema = 1

// A Summary is what the demo has found out.
type Summary struct {
	Schema       int      `json:"schema"`
	Server       string   `json:"server"`
	Seed         uint64   `json:"seed"`
	Workers      int      `json:"workers"`
	Partitions   int      `json:"partitions"`
	TookMs       int64    `json:"took_ms"`
	Interrupted  bool     `json:"interrupted,omitempty"`
	Moved        int      `json:"moved"`
	Bound        int      `json:"bound"`
	LeaderBound  int      `json:"leader_bound"`
	Plans        int      `json:"plans"`
	Sent         uint64   `json:"sent"`
	Processed    uint64   `json:"processed"`
	Repeated     uint64   `json:"repeated"`
	Lost         uint64   `json:"lost"`
	DoubleOwners int      `json:"double_owners"`
	OldTokens    int      `json:"old_tokens"`
	LateEffects  int      `json:"late_effects"`
	Unowned      []Cause  `json:"unowned"`
	Steps        []Step   `json:"steps"`
	Broken       []string `json:"broken"` // empty: every promise held
}

// A Step is what came of one step of the script.
type Step struct {
	Name   string `json:"name"`
	TookMs int64  `json:"took_ms"`
	// Moved counts the partitions that began on another worker than before, first
	// starts included; Bound is the fewest that any even assignment needs, counted by
	// the demo, LeaderBound the same in the leader's own account.
	Moved       int    `json:"moved"`
	Bound       int    `json:"bound"`
	LeaderBound int    `json:"leader_bound"`
	Plans       int    `json:"plans"`
	Processed   uint64 `json:"processed"`
	Repeated    uint64 `json:"repeated"`
	Unowned     Spread `json:"unowned"`
}

// A Cause is how long partitions were without an owner, by what had ended the run before.
type Cause struct {
	Cause string `json:"cause"`
	Spread
}

// A Spread is a few numbers for many durations, in milliseconds.
type Spread struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func spread(gaps []gap) Spread {
	if len(gaps) == 0 {
		return Spread{}
	}
	all := make([]time.Duration, len(gaps))
	for i, g := range gaps {
		all[i] = g.For
	}
	slices.Sort(all)
	at := func(percent int) float64 { // the smallest that so many do not exceed
		i := (len(all)*percent + 99) / 100
		return millis(all[max(i, 1)-1])
	}
	return Spread{Count: len(all), P50: at(50), P99: at(99), Max: millis(all[len(all)-1])}
}

func millis(d time.Duration) float64 { return float64(d.Round(100*time.Microsecond)) / 1e6 }

func byCause(gaps []gap) []Cause {
	var all []Cause
	for c := range causeEnd {
		these := slices.DeleteFunc(slices.Clone(gaps), func(g gap) bool { return g.Cause != c })
		if len(these) > 0 {
			all = append(all, Cause{c.String(), spread(these)})
		}
	}
	return all
}

// judge adds what the books say is broken.
func (s *Summary) judge(found, missing []string) {
	add := func(n uint64, format string, named []string) {
		if n == 0 {
			return
		}
		text := fmt.Sprintf(format, n)
		if len(named) > 0 {
			text += ": " + some(named)
		}
		s.Broken = append(s.Broken, text)
	}
	add(s.Lost, "no message is lost by a move: %d lost", missing)
	add(uint64(s.DoubleOwners), "one owner at a time: %d double owners", nil)
	add(uint64(s.OldTokens), "tokens grow: %d did not", nil)
	add(uint64(s.LateEffects), "only the owner has effects: %d were by others", nil)
	s.Broken = append(s.Broken, found...)
}

// Write writes the summary for people.
func (s *Summary) Write(w io.Writer, p show.Paint) {
	fmt.Fprintf(w, "%s\n\n", p.Bold("Summary"))
	fmt.Fprintf(w, "%s · %d workers, %d partitions · seed %d · %s\n\n",
		s.Server, s.Workers, s.Partitions, s.Seed, seconds(s.TookMs))

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-15s\t", "step")
	fmt.Fprintln(t, "took\tplans\tmoved\tat least\tunowned p50\tmax\tprocessed\trepeated\t")
	for _, x := range s.Steps {
		fmt.Fprintf(t, "%-15s\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%d\t\n", x.Name, seconds(x.TookMs), x.Plans, x.Moved, x.Bound,
			ms(x.Unowned.Count, x.Unowned.P50), ms(x.Unowned.Count, x.Unowned.Max), x.Processed, x.Repeated)
	}
	_ = t.Flush()

	fmt.Fprintf(w, "\nTime without an owner, per partition\n")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-16s\t", "cause")
	fmt.Fprintln(t, "times\tp50\tp99\tmax\t")
	for _, c := range s.Unowned {
		fmt.Fprintf(t, "%-16s\t%d\t%s\t%s\t%s\t\n", c.Cause, c.Count, ms(c.Count, c.P50), ms(c.Count, c.P99), ms(c.Count, c.Max))
	}
	_ = t.Flush()

	fmt.Fprintf(w, "\nMoves     %d, at least %d were needed (%d in the leaders' own account), in %d plans\n", s.Moved, s.Bound, s.LeaderBound, s.Plans)
	lost := must(p, s.Lost, "lost")
	if s.Lost == 0 && s.Sent > s.Processed {
		lost = show.Number(s.Sent-s.Processed) + " under way at the end"
	}
	fmt.Fprintf(w, "Messages  %s sent, %s processed, %s repeated, %s\n",
		show.Number(s.Sent), show.Number(s.Processed), show.Number(s.Repeated), lost)
	fmt.Fprintf(w, "Owners    %s, %s, %s\n\n", must(p, uint64(s.DoubleOwners), "double owners"),
		must(p, uint64(s.OldTokens), "old tokens"), must(p, uint64(s.LateEffects), "late effects"))

	switch {
	case len(s.Broken) > 0:
		fmt.Fprintln(w, p.Red("BROKEN: a promise did not hold."))
		for _, b := range s.Broken {
			fmt.Fprintf(w, "  %s\n", b)
		}
	case s.Interrupted:
		fmt.Fprintln(w, p.Yellow("Interrupted. Up to here every promise held."))
	default:
		fmt.Fprintln(w, p.Green("Every promise held."))
	}
}

// must is a count that has to be zero.
func must(p show.Paint, n uint64, what string) string {
	text := fmt.Sprintf("%s %s", show.Number(n), what)
	if n > 0 {
		return p.Red(text)
	}
	return text
}

func ms(count int, v float64) string {
	switch {
	case count == 0:
		return "-"
	case v >= 1000:
		return strconv.FormatFloat(v/1000, 'f', 2, 64) + " s"
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 0, 64) + " ms"
	default:
		return strconv.FormatFloat(v, 'f', 1, 64) + " ms"
	}
}

func seconds(ms int64) string { return fmt.Sprintf("%.1f s", float64(ms)/1000) }
