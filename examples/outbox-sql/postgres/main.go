// Command postgres follows the tenants in a table of PostgreSQL, which tells of changes.
//
//	go run ./examples/outbox-sql/postgres postgres://localhost/app
//
// It makes the table and a trigger that notifies unless they are there, and prints the
// tenants whenever they change. A Manager that is given the same source does that while
// it leads.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/parti-go/parti/source"
)

const schema = `
	CREATE TABLE IF NOT EXISTS tenants (id text PRIMARY KEY, weight bigint NOT NULL DEFAULT 1);
	CREATE OR REPLACE FUNCTION tenants_changed() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN NOTIFY tenants; RETURN NULL; END $$;
	CREATE OR REPLACE TRIGGER tenants_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenants
		FOR EACH STATEMENT EXECUTE FUNCTION tenants_changed()`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stopped above
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("give the URL of a database, such as postgres://localhost/app")
	}
	return follow(ctx, args[0], func(all string) { fmt.Println(all) })
}

// tenants lists the table. A notification is noticed at once; the look every minute is for
// one that was lost with its connection.
func tenants(db *sql.DB, url string) (*source.Watched, error) {
	return source.SQL(db, "SELECT id, weight FROM tenants", source.Every(time.Minute), source.Listen(listen(url)))
}

// listen calls changed whenever the table says that it has changed. It needs a connection of
// its own, which it has only while it is called: that is while this worker leads.
func listen(url string) func(ctx context.Context, changed func()) error {
	return func(ctx context.Context, changed func()) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if _, err := conn.Exec(ctx, "LISTEN tenants"); err != nil {
			return err
		}
		changed() // what came before it listened
		for {
			if _, err := conn.WaitForNotification(ctx); err != nil {
				return err
			}
			changed()
		}
	}
}

// follow calls show with the tenants at first, and whenever they change.
func follow(ctx context.Context, url string, show func(string)) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	src, err := tenants(db, url)
	if err != nil {
		return err
	}
	news := make(chan struct{}, 1)
	news <- struct{}{}
	watching := make(chan error, 1)
	go func() {
		watching <- src.Watch(ctx, func() {
			select {
			case news <- struct{}{}:
			default:
			}
		})
	}()
	for {
		select {
		case err := <-watching:
			return err
		case <-news:
			all, err := src.ListPartitions(ctx)
			switch {
			case ctx.Err() != nil:
				return <-watching
			case err != nil:
				show(err.Error())
			default:
				show(fmt.Sprint(all))
			}
		}
	}
}
