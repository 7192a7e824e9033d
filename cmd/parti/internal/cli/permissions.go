package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/permissions"
)

// granted is what the command permissions writes as JSON.
type granted struct {
	Schema int         `json:"schema"`
	Users  []grantedTo `json:"users"`
}

type grantedTo struct {
	Role        string          `json:"role"`
	Permissions permissions.Set `json:"permissions"`
}

func newPermissions(s *Streams, g *global) *cobra.Command {
	var (
		use   permissions.Use
		roles []string
	)
	cmd := &cobra.Command{
		Use:   "permissions",
		Short: "Say what the users of NATS must be allowed, and no more",
		Long: `Write the permissions of a NATS user for each role, as they stand in a server's configuration:

  worker       runs partitions; any worker may come to lead. It makes nothing that stays
  provisioner  makes the bucket and the consumers beforehand, and makes the bucket anew if it is lost
  observer     reads the group's bucket, follows it, and asks workers about themselves
  operator     does that, and steers: drain, pin, pause and the like

Roles that are joined by a comma are one user's. A worker that is to make everything itself is
worker,provisioner. What the server refuses is in its log, and in the error of the process.`,
		Example: `  parti permissions --group orders
  parti permissions --group orders --role worker,provisioner
  parti permissions --group orders --stream ORDERS --dead-letter dead.orders --role worker
  parti permissions --group orders --stream ORDERS --cursors --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if use.Group = s.group(use.Group); use.Group == "" {
				return usage(errNoGroup, tryGroup)
			}
			all := granted{Schema: 1}
			for _, r := range roles {
				var of []permissions.Role
				for one := range strings.SplitSeq(r, ",") {
					of = append(of, permissions.Role(strings.TrimSpace(one)))
				}
				set, err := permissions.For(use, of...)
				if err != nil {
					return usage(err, "parti permissions --help")
				}
				all.Users = append(all.Users, grantedTo{r, set})
			}
			if g.json {
				return writeJSON(s.Out, all)
			}
			writeGranted(s.Out, all)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&use.Group, "group", "g", "", "the `name` of the group; also PARTI_GROUP")
	flags.StringArrayVar(&roles, "role", []string{"worker", "provisioner", "observer", "operator"}, "a `role`, or several of one user, joined by commas; may be repeated")
	flags.StringVar(&use.Stream, "stream", "", "the `stream` that package consumer consumes")
	flags.StringVar(&use.Consumers, "consumers", "", "the `group` that package consumer is given (default: that of --group)")
	flags.BoolVar(&use.Cursors, "cursors", false, "it is consumed with cursors")
	flags.StringVar(&use.CursorBucket, "cursor-bucket", "", "the `bucket` of the cursors (default: that of NewCursor)")
	flags.StringVar(&use.DeadLetter, "dead-letter", "", "the `subject` of dead letters")
	flags.StringVar(&use.InboxPrefix, "inbox-prefix", "", "the connection's `prefix` of inboxes (default: _INBOX)")
	return cmd
}

// writeGranted writes blocks of a nats-server's configuration.
func writeGranted(w io.Writer, all granted) {
	for i, u := range all.Users {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "# %s\npermissions: {\n", u.Role)
		for _, list := range []struct {
			name     string
			subjects []string
		}{{"publish", u.Permissions.Publish.Allow}, {"subscribe", u.Permissions.Subscribe.Allow}} {
			fmt.Fprintf(w, "  %s: {\n    allow: [\n", list.name)
			for _, subject := range list.subjects {
				fmt.Fprintf(w, "      %q\n", subject)
			}
			fmt.Fprint(w, "    ]\n  }\n")
		}
		if u.Permissions.Responses {
			fmt.Fprint(w, "  allow_responses: true\n")
		}
		fmt.Fprintln(w, "}")
	}
}
