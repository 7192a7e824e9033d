package directory

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/memkv"
)

func TestIntervalRange(t *testing.T) {
	for d, ok := range map[time.Duration]bool{
		0: false, -time.Second: false, 99 * time.Millisecond: false, 100 * time.Millisecond: true,
		24 * time.Hour: true, 24*time.Hour + 1: false,
	} {
		_, err := optionsOf([]Option{WithReconcileInterval(d)})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "WithReconcileInterval("+d.String()+"): use 100ms to 24h") {
			t.Errorf("%v: %v", d, err)
		}
	}
}

// Nothing that is nil panics later, on a goroutine of its own.
func TestNil(t *testing.T) {
	for _, store := range []parti.Store{nil, (*memkv.Client)(nil)} {
		d, err := Open(t.Context(), store, WithReconcileInterval(0))
		if d != nil || err == nil || !strings.Contains(err.Error(), "a nil store") || !strings.Contains(err.Error(), "ReconcileInterval") {
			t.Errorf("%v", err)
		}
	}
	if o, err := optionsOf([]Option{nil, WithReconcileInterval(time.Second), nil}); err != nil || o.every != time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		d, err := Open(t.Context(), g.client, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
	})
}
