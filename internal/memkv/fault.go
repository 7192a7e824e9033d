package memkv

import (
	"fmt"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// A Fault is a kind of fault that struck: it is counted when it makes a
// difference to somebody, not when it is set up.
type Fault string

// The faults.
const (
	Disconnected   Fault = "disconnected"    // a connection was lost: Cut, Down, or a black hole that was noticed
	Unreachable    Fault = "unreachable"     // a call failed because there was no connection
	LostRequest    Fault = "lost request"    // a request did not arrive
	LostAnswer     Fault = "lost answer"     // a request was carried out and not answered
	LateWrite      Fault = "late write"      // a write arrived after its caller had given up
	Slowed         Fault = "slowed"          // a request or its answer took its time
	Held           Fault = "held"            // a request was held up: by a black hole, or for want of a quorum
	Refused        Fault = "refused"         // a request failed because Refuse said so
	Hung           Fault = "hung"            // a request was not answered because Hang said so
	Omitted        Fault = "omitted"         // a List or Names left out a key that is there
	RepeatedWrite  Fault = "repeated write"  // a write arrived a second time
	StaleRead      Fault = "stale read"      // a read was answered from the past
	LostChange     Fault = "lost change"     // a Follow was not told of a change
	DelayedChange  Fault = "delayed change"  // a Follow was told late
	RepeatedChange Fault = "repeated change" // a Follow was told twice
	SlowFollower   Fault = "slow follower"   // a Follow did not keep up and was ended
	LostProbe      Fault = "lost probe"      // a probe or its answer did not arrive
	Wiped          Fault = "wiped"           // the bucket was lost
	WentBack       Fault = "went back"       // the store went back to an earlier state
)

// Traffic is a set of what goes over one link, for [Client.Lose].
type Traffic uint8

// The kinds of traffic, each in one direction.
const (
	Requests Traffic = 1 << iota // reads and writes on their way to the store
	Answers                      // the store's answers to them
	Changes                      // what Follow is told
	Asking                       // probes of others, and their answers
	Asked                        // probes by others, and the answers to them
)

// Op is a request, as [Client.Refuse] sees it.
type Op struct {
	Kind OpKind
	Keys []string // of the keys, prefixes or the name that it is about
	// Creates says of a write or commit that one of its keys must not be there before.
	Creates bool
}

// OpKind is the method of the Store that was called.
type OpKind string

// The kinds of requests.
const (
	OpGet         OpKind = "get"
	OpList        OpKind = "list"
	OpNames       OpKind = "names"
	OpWrite       OpKind = "write"
	OpCommit      OpKind = "commit"
	OpFollow      OpKind = "follow"
	OpAnswer      OpKind = "answer"
	OpProbe       OpKind = "probe"
	OpIncarnation OpKind = "incarnation"
	OpRenew       OpKind = "renew"
)

// String is the request in short, for logs of tests.
func (o Op) String() string { return fmt.Sprintf("%s %s", o.Kind, strings.Join(o.Keys, " ")) }

// writes says whether the request changes the store, so that no answer means unknown.
func (o Op) writes() bool { return o.Kind == OpWrite || o.Kind == OpCommit || o.Kind == OpRenew }

// reads says whether the request is answered from what a replica holds.
func (o Op) reads() bool {
	return o.Kind == OpGet || o.Kind == OpList || o.Kind == OpNames || o.Kind == OpIncarnation
}

// A Fate is what becomes of one change on its way to one Follow. The zero Fate
// lets it through.
type Fate struct {
	Drop   bool          // it never comes
	Delay  time.Duration // it comes that much later, whatever has come since
	Repeat bool          // it comes twice
}

// faults are what is set up on one link. All of it is guarded by the server's mutex.
type faults struct {
	cut        bool
	black      bool // everything is held, both ways
	noticed    bool // and the client has found out
	lose       Traffic
	slow       func() time.Duration
	loseAnswer int
	late       time.Duration
	stale      *Table
	tamper     func(kv.Entry) Fate
	refuse     func(Op) error
	hang       func(Op) bool
	omit       func(string) bool
	again      time.Duration // a write arrives a second time so much later
}
