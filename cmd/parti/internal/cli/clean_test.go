package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

// saying is a group in which text stands wherever somebody may have put it.
func saying(text string) (s admin.Snapshot, c plan.Control) {
	s = movingGroup()
	c = plan.Control{Kind: plan.Pause, Who: text, When: noon, Why: text}
	s.Sentence, s.Doubt, s.Controls = text, text, []plan.Control{c}
	s.Pending = []parti.Pending{{About: text}}
	s.Alerts = []admin.Alert{{Worker: text, About: text, Text: text}}
	s.Unreadable = []admin.Unreadable{{Key: text, Err: text}}
	for i := range s.Workers {
		w := &s.Workers[i]
		w.Why, w.Host, w.Identity, w.Zone, w.Software = text, text, text, text, text
	}
	return s, c
}

// screens are all that says anything with this text in it.
func screens(t *testing.T, text string, look show.Look) map[string]string {
	t.Helper()
	now, control := saying(text)
	decision := plan.Decision{Version: atVersion(1), Leader: text, At: noon, About: text}
	explained := admin.Explanation{
		Sentence: text, Next: []string{text}, Granted: &decision, Asked: &decision, Last: &admin.LastMove{From: text, To: text, About: text},
		Partition: admin.Partition{ID: "p", Labels: map[string]string{text: text}, Owners: []string{text}},
	}
	outcome := admin.Outcome{Sentence: text, Alerts: []string{text}, Unassigned: []string{text}, Moves: []admin.Relocation{{Partition: text}}}
	health := now.Health(admin.DefaultLimits())
	all := map[string]string{}
	for name, lines := range map[string][]string{
		"status":   statusLines("g", now, look),
		"top":      watchLines("g", now, errors.New(text), &pace{}, true, look),
		"workers":  workerLines(now, look),
		"controls": controlLines(now, look),
		"explain":  explainLines(explained, noon, look),
		"plan":     planLines(outcome, 0, look),
		"history":  historyLines([]plan.Decision{decision}, "", noon, look),
		"check":    checkLines(health, look),
		"doctor":   doctorLines([]admin.Finding{{Level: admin.Wrong, About: text, What: text, Why: text, Fix: text}}, look),
	} {
		all[name] = strings.Join(lines, "\n")
	}

	var out, talk bytes.Buffer
	s, g := &Streams{Out: &out, Err: &talk, Env: func(string) string { return "" }}, &global{}
	_ = nagios(&out, "g", health, nil) // it is ill
	written := []error{writeEvent(s, g, admin.Event{Kind: admin.ControlSet, At: noon, Text: text}, look)}
	told := &teller{streams: s}
	written = append(written, told.take(now, nil), told.take(now, errors.New(text)))
	for _, v := range admin.Verbs() {
		if v.Name == "pause" {
			x := &steer{Verb: v, target: target{streams: s}, g: g, yes: true}
			written = append(written,
				x.ask(t.Context(), now, control, "g"),
				x.tell(t.Context(), nil, admin.Change{Control: plan.Control{Kind: plan.Pause}, Before: &control}, noon))
		}
	}
	newProgress(s).show(text)
	text = strings.ReplaceAll(text, "\n", " ") // an error may have lines
	report(&talk, &Error{What: text, Why: errors.New(text), Try: text})
	if err := errors.Join(written...); err != nil {
		t.Fatal(err)
	}
	all["output"], all["talk"] = out.String(), talk.String()
	return all
}

// What others have written reaches neither a terminal nor the lines of a format as
// anything but text.
func TestFreeTextIsText(t *testing.T) {
	const hostile, harmless = "a\x1b[2J\u009b31m\x7f\a\tb\r\nc", "a.[2J.31m.. b  c"
	for name, look := range map[string]show.Look{"a terminal": {Width: 5000}, "programs": {Plain: true}} {
		want := screens(t, harmless, look)
		for screen, got := range screens(t, hostile, look) {
			for line := range strings.SplitSeq(got, "\n") {
				if strings.ContainsFunc(strings.ReplaceAll(line, "\t", ""), unicode.IsControl) {
					t.Errorf("for %s, %s: %q", name, screen, line)
				}
			}
			if strings.Count(got, "\t") != strings.Count(want[screen], "\t") || strings.Count(got, "\n") != strings.Count(want[screen], "\n") {
				t.Errorf("for %s, %s has other lines or fields:\n%s\nwant:\n%s", name, screen, got, want[screen])
			}
			if !strings.Contains(got, "\uFFFD[2J") {
				t.Errorf("for %s, %s does not say it at all:\n%s", name, screen, got)
			}
		}
	}
}
