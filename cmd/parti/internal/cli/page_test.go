package cli

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what commands say in docs anew")

// Where a page has a block that begins with a command, what follows is what it writes.
func TestPages(t *testing.T) {
	const (
		page  = "../../../../docs/PERMISSIONS.md"
		begin = "```\n$ parti "
		end   = "```\n"
	)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var now strings.Builder
	blocks := strings.Split(string(text), begin)
	now.WriteString(blocks[0])
	if len(blocks) == 1 {
		t.Error("it has no command")
	}
	for _, block := range blocks[1:] {
		line, rest, _ := strings.Cut(block, "\n")
		_, after, ok := strings.Cut(rest, end)
		if !ok {
			t.Fatalf("the block of %s does not end", line)
		}
		code, out, talk := try(t.Context(), nil, strings.Fields(line)...)
		if code != Done || talk != "" {
			t.Fatalf("%s: %d %s", line, code, talk)
		}
		now.WriteString(begin + line + "\n" + out + end + after)
	}
	switch {
	case now.String() == string(text):
	case *rewrite:
		if err := os.WriteFile(page, []byte(now.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the commands write: go test ./cmd/parti/internal/cli -run TestPages -rewrite", page)
	}
}
