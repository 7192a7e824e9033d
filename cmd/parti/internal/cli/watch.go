package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

func newTop(s *Streams, g *global) *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a group: status, drawn anew, and how fast things move",
		Long: `Draw the screen of status anew whenever something changes, with the partitions that are granted
and released per second. It needs a terminal; q ends it. With --json it needs none: it writes what
status --watch --json does, a document on one line each time.`,
		Example: `  parti top --group orders`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return watchStatus(cmd.Context(), s, g, t, true) },
	}
	t.flags(cmd, s)
	return cmd
}

// watchStatus shows the group until it is interrupted.
func watchStatus(ctx context.Context, s *Streams, g *global, t *target, rates bool) error {
	file, tty := terminal(s.Out)
	tty = tty && s.Env("TERM") != "dumb" && !g.json
	if rates && !tty && !g.json {
		return usage(errors.New("top needs a terminal"), "parti status --watch")
	}
	first, cancel := t.bounded(ctx)
	w, err := t.open(first)
	cancel()
	if err != nil {
		return err
	}
	defer w.close()

	ctx, quit := context.WithCancel(ctx)
	defer quit()
	tell := &teller{streams: s, json: g.json}
	var draw func(admin.Snapshot, error)
	if tty {
		screen := newScreen(file, show.Paint(s.colors(g.color, s.Out)), s.ascii())
		defer screen.close()
		defer context.AfterFunc(ctx, screen.close)()
		defer onKey(s, 'q', quit)()
		pace := &pace{}
		draw = func(now admin.Snapshot, err error) {
			if err == nil {
				pace.take(now)
			}
			screen.draw(func(look show.Look) []string { return watchLines(w.name, now, err, pace, rates, look) })
		}
	}
	var failed error
	err = w.Watch(ctx, func(now admin.Snapshot, err error) bool {
		if draw != nil {
			draw(now, err)
		} else {
			failed = tell.take(now, err)
		}
		return failed == nil
	})
	if ctx.Err() != nil {
		return nil // it was interrupted, as it was meant
	}
	return t.failed(w.name, errors.Join(err, failed))
}

// watchLines are a screen of top or of status --watch.
func watchLines(group string, now admin.Snapshot, err error, p *pace, rates bool, look show.Look) []string {
	head := now.At.In(show.Zone).Format(time.TimeOnly)
	if err != nil {
		head += ", and no answer since: " + err.Error()
	}
	if rates {
		head += fmt.Sprintf("   %.1f granted/s, %.1f let go/s, %.1f plans/s   q quits", p.granted, p.released, p.plans)
	}
	lines := []string{look.Paint.Dim(look.Cut(head, look.Width)), ""}
	lines = append(lines, statusLines(group, now, look)...)
	if look.Height > 0 && len(lines) > look.Height {
		lines = lines[:look.Height]
	}
	return lines
}

// A teller writes what is new, for a reader or a program.
type teller struct {
	streams *Streams
	json    bool
	last    string
}

func (l *teller) take(now admin.Snapshot, err error) error {
	if err != nil {
		if l.last != err.Error() {
			fmt.Fprintf(l.streams.Err, "%s  no answer: %s\n", time.Now().Format(time.TimeOnly), show.Clean(err.Error()))
		}
		l.last = err.Error()
		return nil
	}
	if l.json {
		if key := fmt.Sprint(now.Version, now.Sentence, len(now.Controls)); key != l.last {
			l.last = key
			return json.NewEncoder(l.streams.Out).Encode(now)
		}
		return nil
	}
	// A sentence that only counts seconds is not another one.
	if key := strings.Map(digitless, now.Sentence); key != l.last {
		l.last = key
		_, err := fmt.Fprintf(l.streams.Out, "%s\t%s\n", now.At.Format(time.RFC3339), show.Clean(now.Sentence))
		return err
	}
	return nil
}

func digitless(r rune) rune {
	if '0' <= r && r <= '9' {
		return -1
	}
	return r
}

// A pace is how fast things happen, over the last seconds.
type pace struct {
	past                     []moment
	granted, released, plans float64
}

type moment struct {
	at      time.Time
	owned   map[string]plan.Version // the token of each that is owned
	version plan.Version
}

// paceWindow is what a pace looks back over.
const paceWindow = 5 * time.Second

func (p *pace) take(now admin.Snapshot) {
	m := moment{at: now.At, owned: map[string]plan.Version{}, version: now.Version}
	for _, x := range now.Partitions {
		if x.State == admin.Owned {
			m.owned[x.ID] = x.Token
		}
	}
	p.past = append(p.past, m)
	for len(p.past) > 2 && now.At.Sub(p.past[1].at) > paceWindow {
		p.past = p.past[1:]
	}
	first := p.past[0]
	seconds := now.At.Sub(first.at).Seconds()
	if seconds <= 0 {
		return
	}
	var granted, released int
	for i, m := range p.past[1:] {
		before := p.past[i]
		for id, token := range m.owned {
			if before.owned[id] != token {
				granted++
			}
		}
		for id := range before.owned {
			if _, still := m.owned[id]; !still {
				released++
			}
		}
	}
	p.granted, p.released = float64(granted)/seconds, float64(released)/seconds
	// A bucket that was made anew counts from one, and one that is lost has no plan: how many
	// plans there were meanwhile nobody knows.
	p.plans = 0
	if now.Version > first.version && now.Version.Incarnation() == first.version.Incarnation() {
		p.plans = float64(now.Version-first.version) / seconds
	}
}

// onKey calls f when that key is pressed, until it is stopped. It does nothing where
// standard input is no terminal.
func onKey(s *Streams, key byte, f func()) (stop func()) {
	in, ok := s.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return func() {}
	}
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return func() {}
	}
	go func() { // it ends with the process: a read of a terminal cannot be taken back
		var b [1]byte
		for {
			n, err := in.Read(b[:])
			if err != nil {
				return
			}
			if n == 1 && (b[0] == key || b[0] == 3) { // or Ctrl-C, which is no signal now
				f()
				return
			}
		}
	}()
	return func() { _ = term.Restore(int(in.Fd()), state) }
}
