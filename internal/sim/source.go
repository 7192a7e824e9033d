package sim

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/plan"
)

var errSource = errors.New("the list of partitions cannot be had")

// A source is what lists partitions, and what there really is.
type source struct {
	w    *world
	next int
	real map[string]entry
	flap map[string]int
	// removed are those that are away for a while.
	removed map[string]int

	failing, silent, garbage int
	half, empty              int // listings still to come; below 0: all
	halves, empties          int // faults that are at work
	listings                 int
	told                     []listing // the last ones that were answers
}

type listing struct {
	by  *process
	ids []string
}

type entry struct {
	p     plan.Partition
	since time.Duration
}

func newSource(w *world) *source {
	s := &source{w: w, real: map[string]entry{}, flap: map[string]int{}, removed: map[string]int{}}
	for _, p := range w.sc.partitions() {
		s.real[p.ID] = entry{p, 0}
		s.next++
	}
	return s
}

// all are the partitions that there really are, sorted.
func (s *source) all() []plan.Partition {
	out := make([]plan.Partition, 0, len(s.real))
	for id, e := range s.real {
		if s.removed[id] == 0 {
			out = append(out, e.p)
		}
	}
	slices.SortFunc(out, func(a, b plan.Partition) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// list answers one question for partitions. Not ok is no answer at all.
func (s *source) list(by *process) (out []plan.Partition, err error, ok bool) { //nolint:revive // an error is one of three kinds of answer
	w := s.w
	s.listings++
	switch {
	case s.silent > 0:
		w.touched(SourceSlow)
		return nil, nil, false
	case s.failing > 0:
		w.touched(SourceError)
		return nil, errSource, true
	}
	out = s.all()
	out = slices.DeleteFunc(out, func(p plan.Partition) bool {
		if s.flap[p.ID] > 0 && s.listings%2 == 0 {
			w.touched(SourceFlap)
			return true
		}
		return false
	})
	if s.garbage > 0 {
		w.touched(SourceGarbage)
		out = append(out, plan.Partition{ID: "not a subject"}, plan.Partition{ID: ""}, plan.Partition{ID: "p000"}, plan.Partition{ID: "p000"})
		return out, nil, true // not an answer that may be believed
	}
	if s.halves > 0 && s.half != 0 {
		s.half--
		w.touched(SourceHalf)
		out = out[:len(out)/3]
	}
	if s.empties > 0 && s.empty != 0 {
		s.empty--
		w.touched(SourceEmpty)
		out = nil
	}
	ids := make([]string, len(out))
	for i, p := range out {
		ids[i] = p.ID
	}
	s.told = append(s.told, listing{by, ids})
	if len(s.told) > 8 {
		s.told = s.told[1:]
	}
	return out, nil, true
}

// add makes n more partitions.
func (s *source) add(n int) {
	for range n {
		id := partitionID(s.next)
		s.real[id] = entry{plan.Partition{ID: id, Weight: 1 + int64(s.next%3)}, s.w.now}
		s.next++
	}
}

// reweigh changes every third weight.
func (s *source) reweigh(n int) {
	for i, p := range s.all() {
		if i%3 == n%3 {
			p.Weight = 1 + (p.Weight+int64(n))%5
			s.real[p.ID] = entry{p, s.real[p.ID].since}
		}
	}
}
