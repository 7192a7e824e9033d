// Command parti shows what Parti does, and looks at and steers a group.
package main

import (
	"os"

	"github.com/parti-go/parti/cmd/parti/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
