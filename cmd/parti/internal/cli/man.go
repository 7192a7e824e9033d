package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan(s *Streams, g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "man",
		Short:   "Write the manual page",
		Long:    `Write the manual page parti(1), as man reads it.`,
		Example: "  parti man | man -l -\n  parti man > /usr/local/share/man/man1/parti.1",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.json {
				return writeJSON(s.Out, struct {
					Schema int    `json:"schema"`
					Page   string `json:"page"`
				}{1, manPage(cmd.Root())})
			}
			if _, err := io.WriteString(s.Out, manPage(cmd.Root())); err != nil {
				return &Error{Code: Failed, What: "write", Why: err}
			}
			return nil
		},
	}
}

// variables are those of the environment that mean something, as the manual lists them.
func variables() [][2]string {
	all := [][2]string{
		{"PARTI_GROUP", "The group, where --group does not say it."},
		{"PARTI_SESSION_TTL and so on", "Settings of parti run, each as PARTI_ and its name in the file of --config."},
		{"PARTI_CONSOLE_TOKEN", "The token of parti console, where --token does not say it."},
	}
	for _, s := range settings {
		if s.env != "" {
			all = append(all, [2]string{s.env, "As --" + s.flag + ": " + strings.ReplaceAll(s.says, "`", "") + "."})
		}
	}
	return append(
		all,
		[2]string{"NATS_CONTEXT", "As --context."},
		[2]string{"XDG_CONFIG_HOME", "Where the contexts of the nats command are, in nats; without it, $HOME/.config."},
		[2]string{"XDG_STATE_HOME", "Where the servers of parti run --embedded keep what they have, in parti; without it, $HOME/.local/state."},
		[2]string{"NO_COLOR", "Not empty: no colours."},
		[2]string{"CLICOLOR_FORCE", "Not empty, and not 0: colours also where no terminal is."},
		[2]string{"TERM", "dumb: no colours, and nothing is drawn in place."},
		[2]string{"LC_ALL, LC_CTYPE, LANG", "The first that is set and names no UTF-8: nothing beyond ASCII."},
	)
}

// manPage is the manual, in the macros of man(7).
func manPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".TH PARTI 1\n.SH NAME\n")
	fmt.Fprintf(&b, "parti \\- %s\n", troff(root.Short))
	b.WriteString(".SH SYNOPSIS\n.B parti\n.I command\n.RI [ flags ]\n.SH DESCRIPTION\n")
	b.WriteString(troff(root.Long) + "\n.SH COMMANDS\n")
	visit(root, func(c *cobra.Command) {
		if c == root || !c.IsAvailableCommand() {
			return
		}
		fmt.Fprintf(&b, ".SS %s\n%s\n", troff(c.UseLine()), troff(orShort(c)))
		manFlags(&b, inSection(c.LocalFlags(), ""))
		if inSection(c.LocalFlags(), connectionSection).HasFlags() {
			b.WriteString(".PP\nIt also takes the flags to reach NATS.\n")
		}
		if c.HasExample() {
			b.WriteString(".PP\nExamples:\n.PP\n" + troff(c.Example) + "\n")
		}
	})
	b.WriteString(".SH FLAGS OF ALL COMMANDS\n")
	manFlags(&b, root.PersistentFlags())
	b.WriteString(".SH FLAGS TO REACH NATS\n")
	var c connection
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.flags(f)
	manFlags(&b, f)
	b.WriteString(".SH ENVIRONMENT\n")
	for _, v := range variables() {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", troff(v[0]), troff(v[1]))
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, c := range codes {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", c.code, troff(c.says))
	}
	return b.String()
}

func orShort(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

// visit calls f with a command and all below it.
func visit(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		visit(sub, f)
	}
}

func manFlags(b *strings.Builder, f *pflag.FlagSet) {
	f.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, says := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n.B %s", troff("--"+f.Name))
		if name != "" {
			fmt.Fprintf(b, " %s", troff(name))
		}
		fmt.Fprintf(b, "\n%s\n", troff(says))
	})
}

// troff is text as man(7) takes it: with nothing that it takes for its own. Lines that
// begin with spaces stay as they are.
func troff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	var lines []string
	verbatim := false
	for line := range strings.SplitSeq(text, "\n") {
		if is := strings.HasPrefix(line, "  "); is != verbatim {
			lines = append(lines, map[bool]string{true: ".nf", false: ".fi"}[is])
			verbatim = is
		}
		switch {
		case line == "":
			line = ".PP"
		case line[0] == '.' || line[0] == '\'':
			line = `\&` + line
		}
		lines = append(lines, line)
	}
	if verbatim {
		lines = append(lines, ".fi")
	}
	return strings.Join(lines, "\n")
}
