package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// Streams are a command's surroundings: what it reads, writes and asks about its
// terminal. Standard output is for data, standard error for talk.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(string) string
	Environ  func() []string // all of it, as os.Environ has it; nil: nobody knows
	// Width, where it is not 0, makes these streams a terminal that is so wide, and on
	// which somebody can be asked: for tests.
	Width int
}

// system are the process's own.
func system() *Streams {
	return &Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv, Environ: os.Environ}
}

// terminal returns the file behind w if that is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, false
	}
	return f, true
}

// The values of --color.
const (
	colorAuto   = "auto"
	colorAlways = "always"
	colorNever  = "never"
)

// colors says whether w gets colours: what --color says; else what the environment
// says; else whether it is a terminal that can show them.
func (s *Streams) colors(flag string, w io.Writer) bool {
	switch flag {
	case colorAlways:
		return true
	case colorNever:
		return false
	}
	if s.Env("NO_COLOR") != "" {
		return false
	}
	if force := s.Env("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	return s.seen(w) && s.Env("TERM") != "dumb"
}

// seen says whether a person looks at w.
func (s *Streams) seen(w io.Writer) bool {
	_, ok := terminal(w)
	return ok || s.Width > 0
}

// askable says whether somebody is there to be asked: who reads what is asked on
// standard error, and answers on standard input.
func (s *Streams) askable() bool {
	if s.Width > 0 {
		return true
	}
	in, ok := s.In.(*os.File)
	return ok && term.IsTerminal(int(in.Fd())) && s.seen(s.Err)
}

// look is how to write on standard output.
func (s *Streams) look(g *global) show.Look {
	look := show.Look{Width: s.Width, Paint: show.Paint(s.colors(g.color, s.Out)), ASCII: s.ascii()}
	if look.Width > 0 {
		return look
	}
	file, ok := terminal(s.Out)
	if !ok {
		look.Plain = true
		return look
	}
	look.Width, look.Height = size(file)
	return look
}

// size is that of a terminal.
func size(file *os.File) (width, height int) {
	if w, h, err := term.GetSize(int(file.Fd())); err == nil && w > 0 && h > 0 {
		return w, h
	}
	return 80, 24
}

// ascii says whether the terminal shows nothing beyond ASCII.
func (s *Streams) ascii() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := s.Env(name); v != "" {
			v = strings.ToUpper(v)
			return !strings.Contains(v, "UTF-8") && !strings.Contains(v, "UTF8")
		}
	}
	return false // most are in UTF-8 today
}
