package admin

import (
	"strings"
	"testing"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/memkv"
)

func TestNilOptions(t *testing.T) {
	server := memkv.New()
	defer server.Close()
	g := Open(server.Client("me"), nil, WithWho("ada"), WithStrategy(nil))
	if g.strategy == nil || g.who != "ada" {
		t.Errorf("%+v", g)
	}
	if g := Open(server.Client("me"), WithWho("")); g.who == "" {
		t.Error("nobody steers")
	}
}

// Whoever forgets an error is told at once, and not by a nil pointer at the first question.
func TestNilStore(t *testing.T) {
	for name, store := range map[string]parti.Store{"nil": nil, "a nil pointer": (*memkv.Client)(nil)} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, "natskv.Open") {
					t.Errorf("it panics with %q", said)
				}
			}()
			Open(store)
		})
	}
}
