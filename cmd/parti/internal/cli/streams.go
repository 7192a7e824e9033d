package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Streams are a command's surroundings: what it reads, writes and asks about its
// terminal. Standard output is for data, standard error for talk.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Env      func(string) string
}

// system are the process's own.
func system() *Streams {
	return &Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv}
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
	_, ok := terminal(w)
	return ok && s.Env("TERM") != "dumb"
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
