// Command parti shows what Parti does, and looks at and steers a group.
package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	fmt.Fprintf(os.Stderr, "parti: no command is written yet (embedded nats-server %s)\n", server.VERSION)
	os.Exit(2)
}
