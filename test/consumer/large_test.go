package consumer_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/test/natstest"
)

// A slowLine lets through 64 KiB each millisecond.
type slowLine struct{ net.Conn }

func (l slowLine) Dial(network, address string) (net.Conn, error) {
	nc, err := net.DialTimeout(network, address, patience)
	return slowLine{nc}, err
}

func (l slowLine) Read(b []byte) (int, error) {
	const most = 64 << 10
	n, err := l.Conn.Read(b[:min(len(b), most)])
	<-time.After(time.Millisecond * time.Duration(n) / most) // this is what is slow
	return n, err
}

// A client is not sent more large messages at once than the server keeps for one that does
// not read so fast: it is not cut off, and each message comes once.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"Durable", "Cursor"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			ns := natstest.Start(t, func(o *server.Options) { o.MaxPending = 10 << 20 })
			js := jetStream(t, natstest.Connect(t, ns, nats.SetCustomDialer(slowLine{})))
			makeStreams(t, js, jetstream.StreamConfig{Name: "IN", Subjects: []string{"in.>"}})
			const n, size = 100, 256 << 10
			for range n {
				if _, err := js.Publish(t.Context(), "in.p", make([]byte, size)); err != nil {
					t.Fatal(err)
				}
			}
			var got atomic.Int64
			all := make(chan struct{})
			finish := func(context.Context, *consumer.Msg) error {
				if got.Add(1) == n {
					close(all)
				}
				return nil
			}
			h := handler(t, js, way, "IN", "in.{partition}", finish, consumer.InFlight(n), consumer.PullBatch(n))
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- h.Run(ctx, parti.NewLease(parti.Partition{ID: "p"}, 1, t.Context(), func() error { return nil }))
			}()
			select {
			case <-all:
			case <-time.After(patience):
				t.Errorf("%d of %d came", got.Load(), n)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if cut := ns.NumSlowConsumers(); cut > 0 || got.Load() != n {
				t.Errorf("%d came of %d, and the client was cut off %d times", got.Load(), n, cut)
			}
		})
	}
}
