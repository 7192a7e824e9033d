// Package fence refuses the writes of an owner whose time is over.
//
// A process can be frozen for longer than its lease, and be in the middle of a write when
// it wakes: no clock helps against that, and no check before the write. What helps is a
// condition where the data is. Every lease has a token that is larger than those of all
// earlier leases of its partition ([parti.Lease]); a store that remembers the largest it
// has seen, and refuses smaller ones, cannot be written to by a former owner any more.
//
// It can from when the new owner has written there for the first time: so the new owner
// does that before anything else. [Publisher] does it by itself; a [Bucket] has Claim;
// in SQL, see [Rows].
//
// A user of NATS needs the permission to publish to $JS.API.STREAM.INFO and
// $JS.API.STREAM.MSG.GET of the stream (of a bucket: KV_<bucket>), and to what it writes:
// the keys ($KV.<bucket>.<key>), or the fence and the messages.
package fence

import (
	"database/sql"
	"fmt"

	"github.com/parti-go/parti"
)

// ErrFenced says that a later lease has written: this owner's time is over, and what it
// does has to stop. It is a [parti.ErrFenced], too.
//
// Whoever works for the lease returns it, wrapped or not, and does not try again: a
// [parti.Handler] from Run, and a function of package consumer, which then takes the message
// for untried and leaves it to the partition's owner.
var ErrFenced error = fencedError{}

type fencedError struct{}

func (fencedError) Error() string { return "fence: a later lease of this partition has written" }
func (fencedError) Unwrap() error { return parti.ErrFenced }

// A TokenError is an [ErrFenced] that says which lease has written.
type TokenError struct {
	What       string // where
	Have, Mine uint64 // tokens
}

func (e *TokenError) Error() string {
	return fmt.Sprintf("fence: %s was written under token %d, and this is %d", e.What, e.Have, e.Mine)
}

// Unwrap is [ErrFenced].
func (e *TokenError) Unwrap() error { return ErrFenced }

// HeaderToken is the header of messages and keys that says under which token they were written.
const HeaderToken = "Parti-Token"

// Rows is ErrFenced where a statement that has the token in its condition changed nothing.
// Keep the token in a column beside the data, and write, in one statement:
//
//	UPDATE accounts SET balance = ?, token = ? WHERE id = ? AND token <= ?
//
//	INSERT INTO accounts (id, balance, token) VALUES (?, ?, ?)
//	ON CONFLICT (id) DO UPDATE SET balance = excluded.balance, token = excluded.token
//	WHERE accounts.token <= excluded.token
//
// each time with the lease's token, which fits into a signed 64-bit column. Where several
// rows belong together, keep one row for each partition instead, and begin every
// transaction with
//
//	UPDATE leases SET token = ? WHERE partition = ? AND token <= ?
//
// which also holds back a later owner until this transaction has ended. This form is the
// better one also where the row of the first statement may be missing: Rows cannot tell that
// from a later token.
//
// The driver must count the rows that the condition matches. MySQL and MariaDB count those
// that the statement changes, and in the rightful owner's second transaction the token is
// there already: it would be refused. Say clientFoundRows=true in the DSN there
// (github.com/go-sql-driver/mysql), or what is the same to another driver.
func Rows(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("%w, or the row is not there", ErrFenced)
	}
	return nil
}
