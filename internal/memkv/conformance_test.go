package memkv_test

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/kv/kvtest"
	"github.com/parti-go/parti/internal/memkv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fixture(t *testing.T) kvtest.Fixture {
	s := memkv.New()
	t.Cleanup(s.Close)
	return kvtest.Fixture{
		Open: func(t *testing.T) kv.Store {
			c := s.Client(t.Name())
			t.Cleanup(c.Close)
			return c
		},
		Cut:  func(c kv.Store) { c.(*memkv.Client).Cut() },
		Mend: func(c kv.Store) { c.(*memkv.Client).Mend() },
		Lose: func(*testing.T) { s.Wipe() },
		Remember: func(*testing.T) func() {
			snapshot := s.Snapshot()
			return func() { s.Restore(snapshot) }
		},
	}
}

func TestConformance(t *testing.T) { kvtest.Run(t, kvtest.Suite{Open: fixture}) }
func TestConformanceInBubble(t *testing.T) {
	kvtest.Run(t, kvtest.Suite{Open: fixture, Bubble: synctest.Test})
}
