package directory

import (
	"time"

	"github.com/parti-go/parti/plan"
)

// An Owner is who may run a partition, as far as the directory knows. The zero Owner is
// nobody. Two Owners can be compared.
type Owner struct {
	// Worker is the worker ID. Empty: nobody owns the partition.
	Worker string
	// Session is the nonce of the worker's session that the partition was granted to. A
	// worker ID is taken over by a successor under another session, and then the partition
	// is granted anew.
	Session string
	// Token is that of the lease, as in parti.Lease: larger than that of every earlier
	// owner.
	Token uint64
	// Version is the newest plan that has changed anything about this worker, as far as
	// the directory has read: the answer is of that plan or a later one.
	Version plan.Version
	// Moving says that the owner was asked to let go. It is still the owner, and nobody
	// else is until it has let go; it may have done so already.
	Moving bool
	// Next is who will be granted the partition then; it may change until it is. Empty
	// when nobody will, or not Moving.
	Next string
	// Process is what the owner's session says of its process. Nil: it was not read yet,
	// or it is gone, as when the owner has just been lost.
	Process *Process
}

// A Process is what a worker's session says of the process that runs it. It is shared and
// not to be changed. The methods of a nil Process answer that there is nothing.
type Process struct {
	Identity string            // as in parti.Config
	Host     string            // the name of its host
	Zone     string            // as in parti.Config
	Labels   map[string]string // as in parti.Config
	Software string            // the release it runs
	Started  time.Time         // by its own wall clock
}

// Label is the worker's label of that name, such as the address where it can be reached;
// empty when there is none.
func (p *Process) Label(name string) string {
	if p == nil {
		return ""
	}
	return p.Labels[name]
}
