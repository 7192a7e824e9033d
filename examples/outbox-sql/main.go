// Command outbox-sql is a fleet that empties the outboxes of tenants, who come and go in a
// SQL table.
//
//	go run ./examples/outbox-sql
//
// The table says which tenants there are, and how heavy each is: these are the partitions.
// It is a SQLite file here, and any database/sql driver does it; examples/outbox-sql/postgres
// hears of changes by LISTEN and NOTIFY instead of looking for them. What is to be
// published stands in another table, the outbox. The owner of a tenant publishes its rows in
// order, and marks them under its token, so that a former owner that was frozen cannot.
//
// A nats-server and three workers run in this process. Tenants are added and made heavier
// meanwhile, and at the end all messages are counted.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	_ "modernc.org/sqlite"

	"github.com/parti-go/parti"
)

const (
	workers = 3
	rows    = 20 // in the outbox of a tenant, each time

	patience = time.Minute // with what shares this machine: the database, the server, all workers
)

const schema = `
	CREATE TABLE tenants (id TEXT PRIMARY KEY, weight INTEGER NOT NULL, token INTEGER NOT NULL DEFAULT 0);
	CREATE TABLE outbox (seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, body TEXT NOT NULL, sent BOOLEAN NOT NULL DEFAULT FALSE);
	CREATE INDEX unsent ON outbox (tenant, seq) WHERE NOT sent`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "outbox-sql:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stopped above
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "parti-example-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "app.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(60000)")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	url, shut, err := serve(dir)
	if err != nil {
		return err
	}
	defer shut()
	nc, err := nats.Connect(url, nats.Timeout(patience))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "PUBLISHED", Subjects: []string{"published.*"}}); err != nil {
		return err
	}

	if err := add(ctx, db, 1, "amber", "birch", "cedar", "delta", "ember", "fjord"); err != nil {
		return err
	}
	fleet, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	errs := make([]error, workers+1) // the last is of the story
	mgrs := make([]*parti.Manager, workers)
	for i := range mgrs {
		w, err := newWorker(ctx, url, db)
		if err != nil {
			end()
			wg.Wait()
			return err
		}
		mgrs[i] = w.mgr
		wg.Go(func() { errs[i] = w.run(fleet) })
	}
	errs[workers] = story(ctx, db, mgrs)
	end()
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return count(ctx, db, js)
}

// story is what happens to the tables meanwhile.
func story(ctx context.Context, db *sql.DB, mgrs []*parti.Manager) error {
	if err := sent(ctx, db); err != nil {
		return err
	}
	show(mgrs)
	fmt.Println("two tenants come, one of them heavy")
	if err := errors.Join(add(ctx, db, 1, "gorse"), add(ctx, db, 4, "heath")); err != nil {
		return err
	}
	if err := sent(ctx, db); err != nil {
		return err
	}
	show(mgrs)
	return nil
}

// add adds tenants with full outboxes.
func add(ctx context.Context, db *sql.DB, weight int, tenants ...string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // of no effect after the commit
	for _, id := range tenants {
		if _, err := tx.ExecContext(ctx, "INSERT INTO tenants (id, weight) VALUES (?, ?)", id, weight); err != nil {
			return err
		}
		for n := range rows {
			if _, err := tx.ExecContext(ctx, "INSERT INTO outbox (tenant, body) VALUES (?, ?)", id, strconv.Itoa(n+1)); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

// sent waits until all outboxes are empty.
func sent(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, errors.New("the outboxes are not empty after two minutes"))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var left int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM outbox WHERE NOT sent").Scan(&left); err != nil || left == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// show says who has what.
func show(mgrs []*parti.Manager) {
	for _, m := range mgrs {
		fmt.Printf("  %s:", m.WorkerID())
		for _, l := range m.CurrentAssignment().Leases {
			fmt.Printf(" %s (%d)", l.Partition.ID, l.Partition.Weight)
		}
		fmt.Println()
	}
}

// count compares what was published with what was in the outboxes.
func count(ctx context.Context, db *sql.DB, js jetstream.JetStream) error {
	var want int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM outbox").Scan(&want); err != nil {
		return err
	}
	c, err := js.OrderedConsumer(ctx, "PUBLISHED", jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, "PUBLISHED")
	if err != nil {
		return err
	}
	got := int(s.CachedInfo().State.Msgs)
	last := map[string]int{}
	for range got {
		m, err := c.Next()
		if err != nil {
			return err
		}
		last[m.Subject()]++
		if string(m.Data()) != strconv.Itoa(last[m.Subject()]) {
			return fmt.Errorf("%s: message %s came as number %d", m.Subject(), m.Data(), last[m.Subject()])
		}
	}
	if got != want {
		return fmt.Errorf("%d messages were published, and %d were in the outboxes", got, want)
	}
	fmt.Printf("published %d of %d messages, each once and in order\n", got, want)
	return nil
}

// serve starts a server on loopback.
func serve(dir string) (url string, shut func(), err error) {
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		return "", nil, err
	}
	ns.Start()
	shut = func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	}
	if !ns.ReadyForConnections(patience) {
		shut()
		return "", nil, errors.New("the server does not start")
	}
	return ns.ClientURL(), shut, nil
}
