// Package roster folds what sessions, probes and the store say into one view of
// the fleet: who is there, who is slow, who is suspect, who has provably ended,
// and why we think so. It is pure; the leader decides with it, and admin shows it.
package roster

import (
	"time"

	"github.com/parti-go/parti/plan"
)

// A Session is what a session key says: the claim on a worker ID, the heartbeat
// and the receipts are one record, so that they cannot disagree. Only the worker
// writes it, but for the Tombstone, which only a leader puts.
type Session struct {
	// Worker is the worker ID, the last part of the key. Nonce names this one
	// session of it; it is random and never used again.
	Worker string `json:"worker"`
	Nonce  string `json:"nonce"`

	// Identity is who the worker is across restarts; Host, Software and Started
	// are for people. No decision compares Started between machines.
	Identity string    `json:"identity,omitempty"`
	Host     string    `json:"host,omitempty"`
	Software string    `json:"software,omitempty"`
	Started  time.Time `json:"started"`
	// Schema is the newest schema of records that this worker reads.
	Schema int `json:"reads_schema"`

	// TTL is how long after its last renewal the session may still be trusted by
	// its worker, plus Margin. Fenced says that the worker stops by itself within
	// that time when it is isolated; otherwise it freezes.
	TTL    plan.Millis `json:"ttl_ms"`
	Margin plan.Millis `json:"margin_ms"`
	Fenced bool        `json:"fenced,omitempty"`

	// Owns is false for a worker without a handler: it is never given anything.
	Owns     bool              `json:"owns"`
	Prepares bool              `json:"prepares,omitempty"`
	Share    int64             `json:"share,omitempty"`
	Capacity int64             `json:"capacity,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`

	// Applied is the version of the session's own slice that it acts on.
	Applied plan.Version `json:"applied"`
	// Draining lists every lease that is still running though the slice Applied
	// does not grant it any more. When Leaving, it lists every lease still running.
	Draining []plan.Lease `json:"draining,omitempty"`
	// Done and Rejected list granted leases whose handler has returned for good:
	// finished until listed anew, or to be given to somebody else.
	Done     []plan.Lease `json:"done,omitempty"`
	Rejected []plan.Lease `json:"rejected,omitempty"`
	// GivenUp lists granted leases that ended with the session's trust, under Fence,
	// and do not run any more: they are to be granted anew, under another token.
	GivenUp []plan.Lease `json:"given_up,omitempty"`
	// Highest is the highest version of any plan that the worker has ever seen,
	// whatever became of the store since.
	Highest plan.Version `json:"highest"`
	// Past is the highest incarnation of the store before that of Highest in which the
	// worker knows that a plan stood: somebody may still run what it granted.
	Past uint32 `json:"past,omitempty"`

	// Previous is the session of this worker ID before this one.
	Previous Previous `json:"previous,omitzero"`

	// Resumed says that the record was created again under its nonce after it was
	// gone. Holds is then what the session runs, where no plan stood to say so.
	Resumed bool         `json:"resumed,omitempty"`
	Holds   []plan.Grant `json:"holds,omitempty"`

	// Leaving says that the session starts nothing any more, whatever it is granted.
	// Once said, every later record says it.
	Leaving bool `json:"leaving,omitempty"`
	// Left are the last words: every handler has returned.
	Left bool `json:"left,omitempty"`

	// Running counts handlers that have not returned.
	Running int `json:"running,omitempty"`

	// Tombstone is put by a leader; it ends this session and every earlier one of
	// the worker ID.
	Tombstone *Tombstone `json:"tombstone,omitempty"`
}

// A Previous names the session that held the worker ID before, and how it ended
// as far as its successor could read. EndUnknown is not evidence of an end.
type Previous struct {
	Nonce string `json:"nonce"`
	End   End    `json:"end"`
}

// A Tombstone ends a session.
type Tombstone struct {
	By   string `json:"by"` // worker ID of the leader
	Term uint64 `json:"term"`
	Why  string `json:"why"` // for people
}

// End is how a session ended.
type End uint8

// The ends of a session.
const (
	EndUnknown   End = iota // it is not known to have ended
	EndLeft                 // its last words
	EndTombstone            // a leader's tombstone
	EndConcluded            // displaced, and its own TTL has passed since
)

var endWords = [...]string{EndUnknown: "unknown", EndLeft: "left", EndTombstone: "tombstone", EndConcluded: "concluded"}

// String is the word for e.
func (e End) String() string { return endWords[min(int(e), len(endWords)-1)] }

// MarshalText writes the word.
func (e End) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a word. One that it does not know is no evidence of an end.
func (e *End) UnmarshalText(text []byte) error {
	*e = EndUnknown
	for i, word := range endWords {
		if word == string(text) {
			*e = End(i)
		}
	}
	return nil
}
