package console

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/admin"
)

// A slowFake plans for as long as it likes.
type slowFake struct {
	*fake

	in   atomic.Int64 // plans that are being made
	free chan struct{}
}

func (f *slowFake) Plan(ctx context.Context, w admin.WhatIf) (admin.Outcome, error) {
	f.in.Add(1)
	defer f.in.Add(-1)
	<-f.free
	return f.fake.Plan(ctx, w)
}

// Only so many plans are made at a time. Others wait, and are told when that takes too long.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowFake{fake: example(), free: make(chan struct{})}
		c := newConsole(f, "orders")
		const more = 3
		var all sync.WaitGroup
		replies := make(chan reply, abreast+more)
		for range abreast + more {
			all.Go(func() { replies <- ask(c, http.MethodGet, "/api/plan?with=1", nil) })
		}
		synctest.Wait()
		if n := f.in.Load(); n != abreast {
			t.Errorf("%d plans are made at a time, want %d", n, abreast)
		}
		time.Sleep(patience + time.Second)
		for range more {
			if r := <-replies; r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.body, "too many ask") {
				t.Errorf("one that has waited: %s\n%s", r.Status, r.body)
			}
		}
		close(f.free)
		all.Wait()
		for range abreast {
			if r := <-replies; r.StatusCode != http.StatusOK {
				t.Errorf("one that had its turn: %s\n%s", r.Status, r.body)
			}
		}
		if r := ask(c, http.MethodGet, "/api/plan?with=1", nil); r.StatusCode != http.StatusOK {
			t.Errorf("afterwards: %s", r.Status)
		}
		c.Close()
	})
}
