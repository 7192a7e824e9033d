package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
)

// version is what this program is built from.
type version struct {
	Schema int    `json:"schema"`
	Parti  string `json:"parti"`
	Commit string `json:"commit,omitempty"`
	Dirty  bool   `json:"dirty,omitempty"`
	Go     string `json:"go"`
	Server string `json:"nats_server"`
}

func newVersion(s *Streams, g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which version this is, and of what it is made",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := built()
			if g.json {
				return writeJSON(s.Out, v)
			}
			commit := v.Commit
			if v.Dirty {
				commit += ", changed"
			}
			if commit != "" {
				commit = " (" + commit + ")"
			}
			fmt.Fprintf(s.Out, "parti %s%s, %s, nats-server %s\n", v.Parti, commit, v.Go, v.Server)
			return nil
		},
	}
}

func built() version {
	v := version{Schema: 1, Parti: "unknown", Go: runtime.Version(), Server: server.VERSION}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Parti = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			v.Dirty = s.Value == "true"
		}
	}
	return v
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return &Error{Code: Failed, What: "write JSON", Why: err}
	}
	return nil
}
