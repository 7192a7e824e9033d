package demo

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// The least a screen is drawn for; what does not fit is cut off.
const (
	minWidth  = 40
	minHeight = 12
)

// Render draws a View as lines, none longer than the screen is wide, not more than
// it is high.
func Render(v View, look show.Look) []string {
	d := drawing{Look: look}
	d.Width, d.Height = max(d.Width, minWidth), max(d.Height, minHeight)
	d.head(v)
	d.workers(v)
	d.totals(v)
	d.notes(v)
	return d.lines[:min(len(d.lines), d.Height)]
}

// A drawing is a screen in the making.
type drawing struct {
	show.Look

	lines []string
}

// add appends a line that is cut to the width, and painted as a whole.
func (d *drawing) add(paint func(string) string, text string) {
	text = d.Cut(text, d.Width)
	if paint != nil {
		text = paint(text)
	}
	d.lines = append(d.lines, text)
}

// sides puts one text at the left and one at the right.
func (d *drawing) sides(left, right string) string {
	space := d.Width - utf8.RuneCountInString(left) - utf8.RuneCountInString(right)
	if space < 1 {
		return left
	}
	return left + strings.Repeat(" ", space) + right
}

func (d *drawing) head(v View) {
	d.add(d.Paint.Bold, d.sides("Parti demo · "+v.Server, clock(v.Elapsed)))
	if v.Step == 0 {
		d.add(nil, "Getting ready")
		d.add(nil, "")
		return
	}
	d.add(d.Paint.Bold, fmt.Sprintf("Step %d of %d: %s", v.Step, v.Steps, v.Name))
	told := show.Wrap(v.Text, d.Width-2)
	for _, line := range told {
		d.add(nil, "  "+line)
	}
	for range 3 - len(told) { // so that what is below does not jump
		d.add(nil, "")
	}
	switch {
	case v.Outcome != "":
		d.add(d.Paint.Green, "  "+v.Outcome)
	case v.Waiting != "":
		d.add(d.Paint.Yellow, "  waiting for "+v.Waiting)
	default:
		d.add(nil, "")
	}
	d.add(nil, "")
}

func (d *drawing) workers(v View) {
	id, state := len("WORKER"), len("STATE")
	most := 1
	for _, w := range v.Workers {
		id, state = max(id, len(w.ID)), max(state, len(w.State)+len(", leads"))
		most = max(most, w.Partitions)
	}
	const numbers = 5 + 8 // partitions and messages per second
	bar := max(d.Width-2-id-2-state-2-numbers-1, 5)
	d.add(d.Paint.Dim, fmt.Sprintf("  %-*s  %-*s  %-*s%5s%8s", id, "WORKER", state, "STATE", bar, "PARTITIONS", "", "MSG/S"))
	room := d.Height - len(d.lines) - 8
	for i, w := range v.Workers {
		if i == room-1 && len(v.Workers) > room {
			d.add(d.Paint.Dim, fmt.Sprintf("  and %d more", len(v.Workers)-i))
			return
		}
		d.worker(w, id, state, bar, most)
	}
}

func (d *drawing) worker(w Row, id, state, bar, most int) {
	mark, text := " ", w.State
	if w.Leads {
		mark, text = "★", w.State+", leads"
	}
	full := (w.Partitions*bar + most - 1) / most
	blocks := strings.Repeat("█", full) + strings.Repeat(" ", bar-full)
	line := fmt.Sprintf("%s %-*s  %-*s  %s%5d%8.0f", mark, id, w.ID, state, text, blocks, w.Partitions, w.Rate)
	switch {
	case w.Gone:
		d.add(d.Paint.Dim, line)
	case w.Leads:
		d.add(d.Paint.Cyan, line)
	case w.State == "Stable":
		d.add(d.Paint.Green, line)
	default:
		d.add(d.Paint.Yellow, line)
	}
}

func (d *drawing) totals(v View) {
	d.add(nil, "")
	leader := "nobody leads"
	if v.Leader != "" {
		leader = fmt.Sprintf("%s leads, term %d, %v", v.Leader, v.Term, v.Phase)
	}
	plans := "no plan yet"
	if v.Plan != 0 {
		plans = "plan " + number(v.Plan)
	}
	var orphans func(string) string
	if v.Orphans > 0 {
		orphans = d.Paint.Yellow
	}
	d.add(orphans, fmt.Sprintf("  Partitions  %d run, %d without an owner", v.Running, v.Orphans))
	d.add(nil, fmt.Sprintf("  Group       %s, %s", leader, plans))
	d.add(nil, fmt.Sprintf("  Messages    %s sent, %s processed, %s repeated", show.Number(v.Sent), show.Number(v.Done), show.Number(v.Repeated)))
	var doubles func(string) string
	if v.Doubles > 0 {
		doubles = d.Paint.Red
	}
	d.add(doubles, fmt.Sprintf("  Owners      %d double owners", v.Doubles))
	d.add(nil, "")
}

func (d *drawing) notes(v View) {
	room := max(d.Height-len(d.lines), 0)
	notes := v.Notes[max(0, len(v.Notes)-room):]
	for _, n := range notes {
		d.add(d.Paint.Dim, fmt.Sprintf("  %s  %s", clock(n.At), n.Text))
	}
}

// clock writes a time since the beginning.
func clock(d time.Duration) string {
	tenths := d.Milliseconds() / 100
	return fmt.Sprintf("%02d:%02d.%d", tenths/600, tenths/10%60, tenths%10)
}
