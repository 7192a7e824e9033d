//go:build unix

package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A server that cannot start says why, and at once.
func TestEmbedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Embed(dir, func(string) {}); err == nil || !strings.Contains(err.Error(), "storage directory is not a directory") {
		t.Error(err)
	}
}
