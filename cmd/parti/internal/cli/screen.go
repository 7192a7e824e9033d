package cli

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/parti-go/parti/cmd/parti/internal/demo"
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
	look demo.Look

	mu     sync.Mutex
	open   bool
	closed bool
}

func newScreen(file *os.File, p demo.Paint, ascii bool) *screen {
	return &screen{file: file, look: demo.Look{Paint: p, ASCII: ascii}}
}

// draw shows a view. The size is asked for each time: terminals change theirs.
func (s *screen) draw(v demo.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	look := s.look
	look.Width, look.Height = 80, 24
	if w, h, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 && h > 0 {
		look.Width, look.Height = w, h
	}
	var b strings.Builder
	if !s.open {
		s.open = true
		b.WriteString(enter)
	}
	b.WriteString(beginDraw + home)
	for i, line := range demo.Render(v, look) {
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
