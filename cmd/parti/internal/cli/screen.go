package cli

import (
	"os"
	"strings"
	"sync"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// What a terminal is told. All of them understand the first four; who does not know
// the last two ignores them.
const (
	enter     = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leave     = "\x1b[?25h\x1b[?1049l"
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
	beginDraw = "\x1b[?2026h" // show nothing until it is complete
	endDraw   = "\x1b[?2026l"
)

// A screen redraws a terminal in place: every line is overwritten, and nothing is
// cleared before, so that nothing flickers. What was on the terminal before comes
// back at the end.
type screen struct {
	file *os.File
	look show.Look

	mu     sync.Mutex
	open   bool
	closed bool
}

func newScreen(file *os.File, p show.Paint, ascii bool) *screen {
	return &screen{file: file, look: show.Look{Paint: p, ASCII: ascii}}
}

// draw shows the lines that render makes for the terminal as it is now: terminals
// change their size. No line is longer than it is wide.
func (s *screen) draw(render func(show.Look) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	look := s.look
	look.Width, look.Height = size(s.file)
	var b strings.Builder
	if !s.open {
		s.open = true
		b.WriteString(enter)
	}
	b.WriteString(beginDraw + home)
	for i, line := range render(look) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + clearLine)
	}
	b.WriteString(clearRest + endDraw)
	_, _ = s.file.WriteString(b.String())
}

// close gives the terminal back as it was.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open && !s.closed {
		_, _ = s.file.WriteString(leave)
	}
	s.closed = true
}
