package source

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parti-go/parti/plan"
)

// Args are the arguments of the query, for its placeholders. Default: none.
func Args(args ...any) SQLOption { return sqlOption(func(o *options) { o.args = args }) }

// Listen runs f while this worker leads. f calls changed when the table may have
// changed, and once when it has begun to listen; the query is asked then, and the leader
// is told if its answer is another one. f returns when ctx ends, or with an error when it
// cannot listen; it is called again after a second at first and a minute at the most, and
// the table is looked at meanwhile as it is without. changed may be called from any
// goroutine, and never waits. Default, and with nil: the table is only looked at every so
// often; see [Every].
func Listen(f func(ctx context.Context, changed func()) error) SQLOption {
	return sqlOption(func(o *options) { o.listen = f })
}

// SQL lists what a query returns: the ID of a partition, or its ID and its weight, in each
// row. Neither may be NULL.
//
//	source.SQL(db, "SELECT id, weight FROM tools WHERE active")
//
// The query is asked every so often ([Every]) while this worker leads, and when [Listen]
// says so; the leader lists when its answer is another one. It is ended with the context,
// as far as the driver does that. Who rewrites the table does it in one transaction: what is
// committed is believed.
func SQL(db *sql.DB, query string, opts ...SQLOption) (*Watched, error) {
	o := options{every: 10 * time.Second}
	for _, set := range opts {
		if set != nil {
			set.sql(&o)
		}
	}
	switch {
	case db == nil:
		return nil, &OptionError{Option: "SQL", Value: "nil", Want: "give a database"}
	case strings.TrimSpace(query) == "":
		return nil, &OptionError{Option: "SQL", Value: fmt.Sprintf("%q", query), Want: "give a query, such as SELECT id, weight FROM tools"}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	t := &table{db: db, query: query, args: o.args}
	return &Watched{name: t.name(), opts: o, read: t.read, listen: o.listen}, nil
}

type table struct {
	db    *sql.DB
	query string
	args  []any
}

func (t *table) name() string { return fmt.Sprintf("query %q", t.query) }

func (t *table) read(ctx context.Context) (all []plan.Partition, err error) {
	rows, err := t.db.QueryContext(ctx, t.query, t.args...)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := rows.Close(); e != nil && err == nil {
			all, err = nil, e
		}
	}()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if len(columns) != 1 && len(columns) != 2 {
		return nil, fmt.Errorf("it returns %d columns (%s): let it return the ID, or the ID and the weight", len(columns), strings.Join(columns, ", "))
	}
	var c collector
	for n := 1; rows.Next(); n++ {
		at := spot{"row", n}
		p, err := scan(rows, len(columns))
		if err != nil {
			c.fault(at, err)
			continue
		}
		c.add(at, p)
	}
	// Only now it is known whether these were all.
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return c.list(t.name())
}

// scan reads one row.
func scan(rows *sql.Rows, columns int) (p plan.Partition, err error) {
	var id sql.NullString
	weight := sql.NullInt64{Valid: true}
	into := []any{&id, &weight}[:columns]
	if err := rows.Scan(into...); err != nil {
		return p, fmt.Errorf("let the query return a text and a whole number: %w", err)
	}
	p.ID, p.Weight = id.String, weight.Int64
	switch {
	case !id.Valid:
		return p, errors.New("the ID is NULL: leave such rows out")
	case !weight.Valid:
		return p, fmt.Errorf("partition %q: the weight is NULL: give it one, or use COALESCE(weight, 1)", p.ID)
	}
	return p, nil
}
