package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/fence"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// A worker publishes what is in the outboxes of its tenants.
type worker struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	store *natskv.Store
	db    *sql.DB
	mgr   *parti.Manager
}

func newWorker(ctx context.Context, url string, db *sql.DB) (_ *worker, err error) {
	nc, err := nats.Connect(url, natskv.ConnectOptions()...)
	if err != nil {
		return nil, err
	}
	w := &worker{nc: nc, db: db}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.js, err = jetstream.New(nc); err != nil {
		return nil, err
	}
	if w.store, err = natskv.Open(ctx, w.js, "outbox"); err != nil {
		return nil, err
	}
	// Only the leader asks the table.
	tenants, err := source.SQL(db, "SELECT id, weight FROM tenants", source.Every(time.Second),
		source.Observe(func(c plan.Changes) { fmt.Println("the leader sees:", c) }))
	if err != nil {
		return nil, err
	}
	w.mgr, err = parti.NewManager(w.store, tenants, parti.HandlerFunc(w.empty), parti.Config{ExpectedWorkers: workers},
		parti.WithLogger(slog.New(slog.DiscardHandler))) // main tells the story
	return w, err
}

func (w *worker) run(ctx context.Context) error {
	defer w.close()
	return w.mgr.Run(ctx)
}

func (w *worker) close() {
	if w.store != nil {
		w.store.Close()
	}
	w.nc.Close()
}

// empty publishes the outbox of one tenant until ctx ends.
func (w *worker) empty(ctx context.Context, l parti.Lease) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			var err error
			// What is begun is finished, if it does not take too long.
			if more, err = w.next(l.Hard(), l); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// next publishes the first row of the tenant, if there is one.
//
// The transaction begins with the token: from then on it holds back a later owner until it
// has ended, and a former owner is refused. A process that dies between the publish and
// the commit publishes the row again; the stream knows the message ID for two minutes,
// and drops the second.
func (w *worker) next(ctx context.Context, l parti.Lease) (more bool, err error) {
	tenant := l.Partition.ID
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // of no effect after the commit
	if err := fence.Rows(tx.ExecContext(ctx, "UPDATE tenants SET token = ? WHERE id = ? AND token <= ?", l.Token, tenant, l.Token)); err != nil {
		return false, err
	}
	var seq int64
	m := nats.NewMsg("published." + tenant)
	err = tx.QueryRowContext(ctx, "SELECT seq, body FROM outbox WHERE tenant = ? AND NOT sent ORDER BY seq LIMIT 1", tenant).Scan(&seq, &m.Data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, tx.Commit()
	case err != nil:
		return false, err
	}
	if _, err := w.js.PublishMsg(ctx, m, jetstream.WithMsgID(strconv.FormatInt(seq, 10))); err != nil {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE outbox SET sent = TRUE WHERE seq = ?", seq); err != nil {
		return false, err
	}
	return true, tx.Commit()
}
