package natskv_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
)

// BenchmarkStore is what the operations of a group take, on an idle server.
func BenchmarkStore(b *testing.B) {
	for _, on := range []struct {
		name  string
		nodes int
		opts  []natskv.Option
	}{
		{"one-memory", 1, []natskv.Option{natskv.WithMemory()}},
		{"one-file", 1, nil},
		{"three-file", 3, nil},
	} {
		b.Run(on.name, func(b *testing.B) {
			s := open(b, connect(b, on.nodes), "g", on.opts...)
			ctx := b.Context()
			value := make([]byte, 400)
			var ws []kv.Write
			for i := range 200 {
				ws = append(ws, kv.Write{Key: fmt.Sprintf("session.worker-%d", i), Value: value, TTL: time.Hour})
			}
			for i := range 64 {
				ws = append(ws, kv.Write{Key: fmt.Sprintf("slice.worker-%d", i), Value: make([]byte, 3000)})
			}
			if _, err := s.Commit(ctx, ws); err != nil {
				b.Fatal(err)
			}
			b.Run("List-264", func(b *testing.B) {
				for b.Loop() {
					if es, _, err := s.List(ctx, ""); err != nil || len(es) != 264 {
						b.Fatal(len(es), err)
					}
				}
			})
			b.Run("Get", func(b *testing.B) {
				for b.Loop() {
					if _, err := s.Get(ctx, "session.worker-1"); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("Renew-session", func(b *testing.B) {
				e, err := s.Get(ctx, "session.worker-2")
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if e.Rev, err = s.Write(ctx, kv.Write{Key: e.Key, Value: value, Last: e.Rev, TTL: time.Minute}); err != nil {
						b.Fatal(err)
					}
				}
			})
			for _, n := range []int{3, 65, 1000} {
				b.Run(fmt.Sprintf("Commit-%d", n), func(b *testing.B) {
					var ws []kv.Write
					for i := range n {
						ws = append(ws, kv.Write{Key: fmt.Sprintf("commit-%d.%d", n, i), Value: value})
					}
					es, _, err := s.List(ctx, fmt.Sprintf("commit-%d.", n))
					if err != nil {
						b.Fatal(err)
					}
					for _, e := range es {
						if i := slices.IndexFunc(ws, func(w kv.Write) bool { return w.Key == e.Key }); i >= 0 {
							ws[i].Last = e.Rev
						}
					}
					for b.Loop() {
						rev, err := s.Commit(ctx, ws)
						if err != nil {
							b.Fatal(err)
						}
						for i := range ws {
							ws[i].Last = rev + kv.Rev(i)
						}
					}
				})
			}
			b.Run("Probe", func(b *testing.B) {
				stop, err := s.Answer("n1", func() []byte { return nil })
				if err != nil {
					b.Fatal(err)
				}
				defer stop()
				for b.Loop() {
					if _, err := s.Probe(ctx, "n1"); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
