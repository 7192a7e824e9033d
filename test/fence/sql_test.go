package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/parti-go/parti/fence"
)

// database opens an empty database with two connections' worth of writers.
func database(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "db")+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, stmt := range []string{
		"CREATE TABLE accounts (id TEXT PRIMARY KEY, balance INTEGER NOT NULL, token INTEGER NOT NULL)",
		"CREATE TABLE leases (partition TEXT PRIMARY KEY, token INTEGER NOT NULL)",
		"INSERT INTO leases (partition, token) VALUES ('p', 0)",
	} {
		if _, err := db.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func balance(t *testing.T, db *sql.DB, id string) (b int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT balance FROM accounts WHERE id = ?", id).Scan(&b); err != nil {
		t.Fatal(err)
	}
	return b
}

// The statements of the documentation, on a real database: an owner that has read the
// balance, is frozen, and wakes when another one has written, is refused.
func TestSQLRow(t *testing.T) {
	db := database(t)
	upsert := func(balance, token int) error {
		return fence.Rows(db.ExecContext(t.Context(), `
			INSERT INTO accounts (id, balance, token) VALUES (?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET balance = excluded.balance, token = excluded.token
			WHERE accounts.token <= excluded.token`, "alice", balance, token))
	}
	update := func(balance, token int) error {
		return fence.Rows(db.ExecContext(t.Context(), "UPDATE accounts SET balance = ?, token = ? WHERE id = ? AND token <= ?", balance, token, "alice", token))
	}
	for _, step := range []struct {
		write          func(balance, token int) error
		balance, token int
		fenced         bool
		want           int
	}{
		{upsert, 10, 1, false, 10},
		{update, 11, 1, false, 11},
		{update, 20, 2, false, 20}, // the next owner
		{update, 12, 1, true, 20},  // the zombie
		{upsert, 12, 1, true, 20},
		{upsert, 21, 2, false, 21},
	} {
		if err := step.write(step.balance, step.token); errors.Is(err, fence.ErrFenced) != step.fenced || !step.fenced && err != nil {
			t.Errorf("%d under %d: %v", step.balance, step.token, err)
		}
		if got := balance(t, db, "alice"); got != step.want {
			t.Errorf("%d under %d: the balance is %d", step.balance, step.token, got)
		}
	}
	if err := fence.Rows(db.ExecContext(t.Context(), "UPDATE nosuch SET x = 1")); err == nil || errors.Is(err, fence.ErrFenced) {
		t.Errorf("another error: %v", err)
	}
}

// One row for the partition guards a transaction over several rows: of two that
// transfer at the same time, the zombie's changes nothing, whichever comes first.
func TestSQLTransaction(t *testing.T) {
	for _, zombieFirst := range []bool{true, false} {
		db := database(t)
		if _, err := db.ExecContext(t.Context(), "INSERT INTO accounts (id, balance, token) VALUES ('alice', 100, 0), ('bob', 0, 0)"); err != nil {
			t.Fatal(err)
		}
		transfer := func(amount, token int) error {
			return inTransaction(t.Context(), db, func(tx *sql.Tx) error {
				if err := fence.Rows(tx.ExecContext(t.Context(), "UPDATE leases SET token = ? WHERE partition = ? AND token <= ?", token, "p", token)); err != nil {
					return err
				}
				if _, err := tx.ExecContext(t.Context(), "UPDATE accounts SET balance = balance - ? WHERE id = 'alice'", amount); err != nil {
					return err
				}
				_, err := tx.ExecContext(t.Context(), "UPDATE accounts SET balance = balance + ? WHERE id = 'bob'", amount)
				return err
			})
		}
		if zombieFirst { // it was still the owner then
			if err := transfer(1, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := transfer(10, 2); err != nil {
			t.Fatal(err)
		}
		if err := transfer(50, 1); !errors.Is(err, fence.ErrFenced) {
			t.Errorf("the zombie: %v", err)
		}
		want := 10
		if zombieFirst {
			want = 11
		}
		if a, b := balance(t, db, "alice"), balance(t, db, "bob"); a != 100-want || b != want {
			t.Errorf("alice has %d and bob %d", a, b)
		}
	}
}

func inTransaction(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
