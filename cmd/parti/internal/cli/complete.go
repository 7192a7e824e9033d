package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
)

// completions are what cobra calls for the words of a shell's completion.
type completions = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completes offers names of the group: those that the argument at this place can be.
// Without an answer in two seconds it offers nothing.
func (t *target) completes(places ...func(admin.Snapshot) []string) completions {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		w, err := t.open(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer w.close()
		now, err := w.Snapshot(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return places[len(args)](now), cobra.ShellCompDirectiveNoFileComp
	}
}

func workerNames(now admin.Snapshot) []string {
	var names []string
	for _, w := range now.Workers {
		names = append(names, w.ID)
	}
	return names
}

func partitionNames(now admin.Snapshot) []string {
	var names []string
	for _, p := range now.Partitions {
		names = append(names, p.ID)
	}
	return names
}
