// Package cli is the command parti: its commands, flags, exit codes, and how it
// talks to people and to other programs.
package cli

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the command line of this process and returns the code to exit with.
func Main(args []string) int {
	// The first signal ends what is under way cleanly; the second ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	return int(Run(ctx, args, system()))
}

// Run runs one command line.
func Run(ctx context.Context, args []string, s *Streams) Code {
	root := newRoot(s) //nolint:contextcheck // commands get theirs when they run
	if len(args) == 1 && args[0] == introspect {
		return report(s.Err, writeJSON(s.Out, plugin(root)))
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return Done
	}
	e, said := (*Error)(nil), (*silent)(nil)
	if !errors.As(err, &e) && !errors.As(err, &said) {
		// What fails before a command runs is the command line's fault.
		err = usage(err, cmd.CommandPath()+" --help")
	}
	return report(s.Err, err)
}

func usage(err error, try string) *Error {
	return &Error{Code: Usage, What: err.Error(), Try: try}
}

// global are the flags of every command.
type global struct {
	color string
	json  bool
}

func newRoot(s *Streams) *cobra.Command {
	g := &global{}
	root := &cobra.Command{
		Use:   "parti",
		Short: "Share partitions of work among workers, with nothing but NATS",
		Long: `Parti shares partitions of work out among a fleet of workers: each partition is run
by one worker at a time, the load is even, and little moves when the fleet changes.

Standard output is data, standard error is talk.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(s.Err) // nobody has asked for help: it is talk
			_ = cmd.Help()
			return &Error{Code: Usage, What: "no command is given", Try: "parti demo"}
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains([]string{colorAuto, colorAlways, colorNever}, g.color) {
				return usage(errors.New("--color "+g.color+": it is auto, always or never"), "parti --color=auto")
			}
			return nil
		},
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&g.color, "color", colorAuto, "colours: auto, always or never; also NO_COLOR, CLICOLOR_FORCE and TERM=dumb")
	flags.BoolVar(&g.json, "json", false, "write data as JSON")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{colorAuto, colorAlways, colorNever}, cobra.ShellCompDirectiveNoFileComp))
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := io.WriteString(cmd.OutOrStderr(), usageOf(cmd))
		return err
	})
	root.SetGlobalNormalizationFunc(bothNames)
	root.AddGroup(commandGroups()...)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupLook, newStatus(s, g), newTop(s, g), newWorkers(s, g), newPartitions(s, g), newPlan(s, g), newExplain(s, g),
		newHistory(s, g), newEvents(s, g), newCheck(s, g), newDoctor(s, g), newControls(s, g), newConsole(s, g), newSimulate(s, g))
	add(groupSteer, newSteerings(s, g)...)
	add(groupMore, newDemo(s, g), newRun(s, g), newBench(s, g), newPermissions(s, g), newMan(s, g), newVersion(s, g))
	root.AddCommand(newGuardian())
	root.SetHelpCommandGroupID(groupMore)
	root.SetCompletionCommandGroupID(groupMore)
	return root
}
