package cli

import (
	"bytes"
	"testing"

	"github.com/parti-go/parti/admin"
)

// What to try is said once, although the error itself says it, too.
func TestRefusalSaysItOnce(t *testing.T) {
	var b bytes.Buffer
	err := (&target{}).failed("g", &admin.RefusedError{What: "move p to w", Why: "w has no room", Try: "another worker"})
	code := report(&b, err)
	if want := "parti: move p to w: w has no room\ntry: another worker\n"; code != Failed || b.String() != want {
		t.Errorf("exit code %d: %q, want %q", code, b.String(), want)
	}
}
