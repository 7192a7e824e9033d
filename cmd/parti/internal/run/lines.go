package run

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/parti-go/parti/cmd/parti/internal/cut"
)

// maxBare is where a longer bare line is broken, in bytes: it has nothing that says that it goes
// on in the next, and who reads it needs it whole for as long as there is memory for it.
const maxBare = 1 << 20

// A place is where lines are written, and events. Its lock is held for each.
type place struct {
	sync.Mutex

	open *cut.Lines // whose line has not ended
}

// begin is what is written before a line, or a piece of one, so that it is not in the midst of
// another's.
func (p *place) begin(from *cut.Lines) string {
	if p.open == nil || p.open == from {
		return ""
	}
	p.open = nil
	return "\n"
}

// A printer writes lines of many commands, whole, to one place.
type printer struct {
	place  *place
	w      io.Writer
	stream string // its name, in JSON
	style  Style
	buf    []byte

	readers *readers
}

// A Style is how the lines of commands look.
type Style struct {
	JSON  bool // an object each
	Bare  bool // as they are, without the partition
	Color bool // of the partition
}

// outputRecord is a line of a command, as JSON.
type outputRecord struct {
	Schema    int    `json:"schema"`
	Event     string `json:"event"`
	Partition string `json:"partition"`
	Token     uint64 `json:"token,string"`
	Stream    string `json:"stream"`
	Line      string `json:"line"`
	More      bool   `json:"more,omitempty"` // the line goes on in the next
}

// print writes one line in one piece.
func (p *printer) print(j job, from *cut.Lines, line []byte, more, first bool) {
	p.place.Lock()
	defer p.place.Unlock()
	b := p.buf[:0]
	b = append(b, p.place.begin(from)...)
	switch {
	case p.style.JSON:
		text, err := json.Marshal(outputRecord{1, "output", j.Partition, j.Token, p.stream, string(line), more})
		if err != nil {
			panic(err) // words and numbers
		}
		b = append(append(b, text...), '\n')
	case p.style.Bare:
		b = append(b, line...)
		if more {
			p.place.open = from
		} else {
			p.place.open = nil
			b = append(b, '\n')
		}
	default:
		bar := " | "
		if !first {
			bar = " + " // it goes on
		}
		b = append(append(paint(b, j.Partition, bar, p.style.Color), line...), '\n')
	}
	_, err := p.w.Write(b)
	p.readers.note(err)
	if cap(b) <= 4*cut.Longest {
		p.buf = b
	}
}

// colors are told apart on dark and light ground.
var colors = []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

// paint adds what stands before a line.
func paint(b []byte, partition, bar string, color bool) []byte {
	if !color {
		return append(append(b, partition...), bar...)
	}
	sum := uint32(2166136261) // FNV-1a: a partition has the same colour everywhere
	for i := range len(partition) {
		sum = (sum ^ uint32(partition[i])) * 16777619
	}
	b = append(append(append(b, "\x1b["...), colors[sum%uint32(len(colors))]...), 'm')
	b = append(append(b, partition...), bar...)
	return append(b, "\x1b[0m"...)
}

// of makes what cuts the output of one command into lines for this place.
func (p *printer) of(j job) *cut.Lines {
	first := true
	l := &cut.Lines{Max: cut.Longest}
	if p.style.Bare && !p.style.JSON {
		l.Max = maxBare
	}
	l.Emit = func(line []byte, more bool) {
		p.print(j, l, line, more, first)
		first = !more
	}
	return l
}
