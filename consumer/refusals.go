package consumer

import "sync"

// refusals counts, by partition and sequence, how often under the present lease a function
// was refused as by a later lease while this one could be proved.
type refusals struct {
	mu  sync.Mutex
	all map[string]map[uint64]int
}

// believed is how often a function is believed that another owner has its partition, of one
// message under one lease. After that it is the message, or the function.
const believed = 3

// believe says whether to believe it of that message once more.
func (r *refusals) believe(m *Msg) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[m.Partition][m.Sequence] == believed {
		return false
	}
	if r.all == nil {
		r.all = map[string]map[uint64]int{}
	}
	if r.all[m.Partition] == nil {
		r.all[m.Partition] = map[uint64]int{}
	}
	r.all[m.Partition][m.Sequence]++
	return true
}

// of is how often it was believed of that message.
func (r *refusals) of(partition string, seq uint64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[partition][seq]
}

// forget forgets a partition that is let go of.
func (r *refusals) forget(partition string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, partition)
}
