package parti

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
)

// What an idle Manager costs besides its handlers. Outside of a bubble, so that
// goleak sees what is left behind.
func TestWeight(t *testing.T) {
	const managers = 20
	server := memkv.New()
	defer server.Close()
	begun, heap := runtime.NumGoroutine(), heapNow()
	var all []*Manager
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for range managers {
		m, err := NewManager(server.Client("x"), source.Static(parts(100)...), HandlerFunc(wait), Config{ExpectedWorkers: managers},
			WithObserver(func(Event) {}), WithHooks(Hooks{OnError: func(context.Context, error) error { return nil }}))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.begin(ctx); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	for _, m := range all {
		select {
		case <-m.Ready():
		case <-ctx.Done():
			t.Fatalf("not ready: %v", m.Status())
		}
	}
	handlers := 0
	slowly(t, "every partition runs", func() bool { // one that starts later is a goroutine that was not counted
		handlers = 0
		for _, m := range all {
			handlers += m.Status().Running
		}
		return handlers == 100
	})
	// The most of several looks would catch requests on their way; the least is what
	// stays.
	goroutines := runtime.NumGoroutine()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range 100 {
		<-again.C
		goroutines = min(goroutines, runtime.NumGoroutine())
	}
	each := float64(goroutines-begun-handlers) / managers
	bytes := (heapNow() - heap) / managers
	t.Logf("%.1f goroutines and %d kB for each of %d managers with %d handlers", each, bytes>>10, managers, handlers)
	if each > 12 {
		t.Errorf("%.1f goroutines for each manager, besides handlers", each)
	}
	if bytes > 1<<20 && !raceEnabled {
		t.Errorf("%d bytes for each manager", bytes)
	}
	for _, m := range all {
		if err := m.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
}

func heapNow() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
