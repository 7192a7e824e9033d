package source

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A base is a database of which one answer is set.
type base struct {
	mu      sync.Mutex
	columns []string
	rows    [][]driver.Value
	end     error // after the rows
	err     error // instead
	hang    bool  // until the context ends
	asked   []string
	open    int // rows that were not closed
}

func (b *base) Connect(context.Context) (driver.Conn, error) { return conn{b}, nil }
func (b *base) Driver() driver.Driver                        { return nil }

type conn struct{ *base }

func (conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not that") }
func (conn) Close() error                        { return nil }
func (conn) Begin() (driver.Tx, error)           { return nil, errors.New("not that") }

func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	for _, a := range args {
		query += " " + a.Value.(string)
	}
	c.mu.Lock()
	c.asked = append(c.asked, query)
	hang := c.hang
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	return &cursor{base: c.base}, nil
}

type cursor struct {
	*base
	at int
}

func (c *cursor) Columns() []string { return c.columns }

func (c *cursor) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	return nil
}

func (c *cursor) Next(into []driver.Value) error {
	switch {
	case c.at < len(c.rows):
		copy(into, c.rows[c.at])
		c.at++
		return nil
	case c.end != nil:
		return c.end
	}
	return io.EOF
}

func TestSQL(t *testing.T) {
	type rows = [][]driver.Value
	two := []string{"id", "weight"}
	for _, c := range []struct {
		name string
		base *base
		want string // what is listed, or a part of the error
	}{
		{"IDs", &base{columns: two[:1], rows: rows{{"b"}, {[]byte("a")}, {int64(7)}}}, "7:0 a:0 b:0"},
		{"weights", &base{columns: two, rows: rows{{"b", int64(5)}, {"a", "6"}}}, "a:6 b:5"},
		{"nothing", &base{columns: two}, ""},
		{"no table", &base{err: errors.New("no such table")}, `source: query "SELECT": no such table`},
		{"cut off", &base{columns: two[:1], rows: rows{{"a"}}, end: errors.New("connection lost")}, `source: query "SELECT": connection lost`},
		{"no column", &base{}, "it returns 0 columns ()"},
		{"three columns", &base{columns: []string{"id", "w", "x"}}, "it returns 3 columns (id, w, x): let it return the ID, or the ID and the weight"},
		{"NULL ID", &base{columns: two, rows: rows{{"a", int64(1)}, {nil, int64(1)}}}, "row 2: the ID is NULL: leave such rows out"},
		{"NULL weight", &base{columns: two, rows: rows{{"a", nil}}}, `row 1: partition "a": the weight is NULL: give it one, or use COALESCE(weight, 1)`},
		{"half a weight", &base{columns: two, rows: rows{{"a", 1.5}}}, "row 1: let the query return a text and a whole number: sql: Scan error on column index 1"},
		{"negative", &base{columns: two, rows: rows{{"a", int64(-1)}, {"a", int64(1)}}}, `row 1: partition "a" has the weight -1: use 0 or more; 0 counts as 1; row 2: partition "a" is listed already, by row 1`},
		{"invalid", &base{columns: two[:1], rows: rows{{"a b"}}}, `row 1: partition "a b" has the character ' ' at byte 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := sql.OpenDB(c.base)
			defer db.Close()
			w, err := SQL(db, "SELECT")
			if err != nil {
				t.Fatal(err)
			}
			all, err := w.ListPartitions(t.Context())
			got := words(all)
			if err != nil {
				got = err.Error()
			}
			if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
				t.Errorf("%s, want %s", got, c.want)
			}
			if c.base.open != 0 {
				t.Error("rows are left open")
			}
		})
	}
}

func TestSQLIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &base{columns: []string{"id"}}
		set := func(hang bool, ids ...string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.hang, b.rows = hang, nil
			for _, id := range ids {
				b.rows = append(b.rows, []driver.Value{id})
			}
		}
		db := sql.OpenDB(b)
		defer db.Close()
		notify := make(chan struct{})
		w, err := SQL(db, "SELECT ?", Args("x"), Every(time.Minute), Listen(func(ctx context.Context, changed func()) error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-notify:
					changed()
				}
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		set(false, "a", "b")
		r := watch(t, w)
		r.lists("a", "b")
		set(false, "b", "a") // in another order
		r.expect(3*time.Minute, 0)
		set(false, "b", "c")
		r.expect(time.Minute, 1)
		r.lists("b", "c")
		r.lately("1 added (c), 1 removed (a)")
		set(false, "d")
		notify <- struct{}{}
		r.expect(time.Second, 1)
		r.lists("d")
		set(true)
		r.expect(2*time.Minute, 1) // that there is no answer
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.ListPartitions(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
		for _, asked := range b.asked {
			if asked != "SELECT ? x" {
				t.Errorf("asked %s", asked)
			}
		}
	})
}
