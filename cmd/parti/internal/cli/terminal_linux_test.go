package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// A desk is a terminal: who sits at it sees what is written there, and types.
type desk struct {
	*watched

	end  *os.File // of the command
	near *os.File // of who sits there
}

func newDesk(t *testing.T, width, height uint16) *desk {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there are no terminals here: ", err)
	}
	t.Cleanup(func() { _ = near.Close() })
	fd := int(near.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end.Close() })
	if err := unix.IoctlSetWinsize(int(end.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
		t.Fatal(err)
	}
	d := &desk{watched: newWatched(), end: end, near: near}
	go func() { // until both ends are closed
		var b [4096]byte
		for {
			n, err := near.Read(b[:])
			if err != nil {
				return
			}
			_, _ = d.Write(b[:n])
		}
	}()
	return d
}

// streams are those of a command at this desk.
func (d *desk) streams(url string) *Streams {
	return &Streams{In: d.end, Out: d.end, Err: d.end, Env: func(name string) string {
		return map[string]string{"NATS_URL": url, "PARTI_GROUP": "orders", "TERM": "xterm"}[name]
	}}
}

// Top draws the other screen of a terminal in place, no line longer than it is wide, and
// gives the terminal back as it was when q is pressed.
func TestTopOnATerminal(t *testing.T) {
	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 6)
	if _, err := f.start(t.Context(), "host-0"); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, 60, 10)
	done := make(chan struct{})
	var code Code
	go func() {
		defer close(done)
		code = Run(t.Context(), []string{"top"}, d.streams(f.url))
	}()
	if !d.await(t.Context().Done(), regexp.MustCompile(`Settled\. 6 partitions`)) {
		t.Fatalf("exit code %d: %q", code, d)
	}
	if _, err := d.near.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if !d.await(t.Context().Done(), regexp.MustCompile(regexp.QuoteMeta(leave))) {
		t.Fatalf("the screen stays: %q", d)
	}
	<-done
	text := d.String()
	if code != Done || !strings.HasPrefix(text, enter) || !strings.HasSuffix(text, leave) {
		t.Errorf("exit code %d: %q", code, text)
	}
	first, _, _ := strings.Cut(text[len(enter):], endDraw)
	if rows := strings.Count(first, "\r\n") + 1; rows > 10 {
		t.Errorf("%d rows", rows)
	}
	for row := range strings.SplitSeq(regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]").ReplaceAllString(first, ""), "\r\n") {
		if len([]rune(row)) > 60 {
			t.Errorf("it is long: %q", row)
		}
	}
}

// On a terminal what changes something asks, and shows what it waits for in place.
func TestAskingOnATerminal(t *testing.T) {
	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 6)
	for _, name := range []string{"host-0", "host-1"} {
		if _, err := f.start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, 80, 24)
	done := make(chan struct{})
	var code Code
	go func() {
		defer close(done)
		code = Run(t.Context(), []string{"drain", "worker-1", "--wait"}, d.streams(f.url))
	}()
	for _, step := range []struct{ says, answer string }{
		{`Go on\? \[y/N\] `, "y\n"},
		{`\r0 partitions left on worker-1`, ""},
		{`It has come about, in .*\.\r\n`, ""},
	} {
		if !d.await(t.Context().Done(), regexp.MustCompile(step.says)) {
			t.Fatalf("it does not say %s: %q", step.says, d)
		}
		if _, err := d.near.WriteString(step.answer); err != nil {
			t.Fatal(err)
		}
	}
	if <-done; code != Done {
		t.Errorf("exit code %d: %q", code, d)
	}
}

// What is shown in place is one row, however long it is, and whatever the terminal's width.
func TestProgressOnATerminal(t *testing.T) {
	d := newDesk(t, 20, 5)
	p := newProgress(d.streams(""))
	p.show("12 partitions left on worker-1")
	p.show("7 partitions left on worker-1")
	p.show("none on w")
	p.end()
	want := "\r12 partitions left…" + clearLine + "\r7 partitions left …" + clearLine + "\rnone on w" + clearLine + "\r" + clearLine
	if !d.await(t.Context().Done(), regexp.MustCompile(`\r`+regexp.QuoteMeta(clearLine)+"$")) || d.String() != want {
		t.Errorf("%q, want %q", d, want)
	}
}
