package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of commands, as the help shows them.
const (
	groupLook  = "look"
	groupSteer = "steer"
	groupMore  = "more"
)

func commandGroups() []*cobra.Group {
	return []*cobra.Group{
		{ID: groupLook, Title: "Look at a group:"},
		{ID: groupSteer, Title: "Steer a group:"},
		{ID: groupMore, Title: "More:"},
	}
}

// section is the annotation of flags that stand under a heading of their own.
const section = "parti_section"

// usageOf is what the help of a command says after its description.
func usageOf(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s [command]\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	list := func(title string, is func(*cobra.Command) bool) {
		head := "\n" + title + "\n"
		for _, c := range cmd.Commands() {
			if is(c) && (c.IsAvailableCommand() || c.Name() == "help") {
				fmt.Fprintf(&b, "%s  %-*s %s\n", head, c.NamePadding(), c.Name(), c.Short)
				head = ""
			}
		}
	}
	for _, g := range cmd.Groups() {
		list(g.Title, func(c *cobra.Command) bool { return c.GroupID == g.ID })
	}
	list("Commands:", func(c *cobra.Command) bool { return c.GroupID == "" })
	flags := func(title string, f *pflag.FlagSet) {
		if text := strings.TrimRight(f.FlagUsages(), "\n"); text != "" {
			fmt.Fprintf(&b, "\n%s\n%s\n", title, text)
		}
	}
	flags("Flags:", inSection(cmd.LocalFlags(), ""))
	flags("To reach NATS:", inSection(cmd.LocalFlags(), connectionSection))
	if cmd.HasParent() {
		flags("Flags of all commands:", cmd.InheritedFlags())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more about one.\n", cmd.CommandPath())
	}
	b.WriteString("\n" + codeHelp())
	return b.String()
}

// inSection are the flags that stand under that heading.
func inSection(all *pflag.FlagSet, name string) *pflag.FlagSet {
	some := pflag.NewFlagSet("", pflag.ContinueOnError)
	some.SortFlags = all.SortFlags
	all.VisitAll(func(f *pflag.Flag) {
		is := ""
		if s := f.Annotations[section]; len(s) > 0 {
			is = s[0]
		}
		if is == name {
			some.AddFlag(f)
		}
	})
	return some
}
