package demo

import (
	"sync"
	"time"

	"github.com/parti-go/parti/plan"
)

// A View is all that the screen shows at one moment.
type View struct {
	Server   string
	Elapsed  time.Duration
	Step     int // from 1; 0 before the first
	Steps    int
	Name     string // of the step
	Text     string // what happens and what to look for
	Waiting  string // what the step waits for now
	Outcome  string // what came of it
	Workers  []Row
	Running  int // partitions
	Orphans  int
	Plan     plan.Version
	Phase    plan.Phase
	Leader   string
	Term     uint64
	Sent     uint64
	Done     uint64
	Repeated uint64
	Doubles  int
	Notes    []note
}

// A Row is one worker.
type Row struct {
	ID, Identity string
	State        string
	Leads        bool
	Gone         bool // killed or stopped
	Partitions   int
	Rate         float64 // messages per second
}

// viewEvery is the time between two pictures.
const viewEvery = 100 * time.Millisecond

// picture calls f with a picture of s, again and again, until it is stopped.
func picture(s *story, server string, since func() time.Duration, f func(View)) (stop func()) {
	if f == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(viewEvery)
		defer tick.Stop()
		rates := &rates{before: map[int]uint64{}, rate: map[int]float64{}}
		for {
			f(s.view(server, since(), rates))
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}

// rates are messages per second, smoothed a little.
type rates struct {
	at     time.Duration
	before map[int]uint64
	rate   map[int]float64
}

func (r *rates) update(now time.Duration, work map[int]uint64) {
	const window = time.Second
	passed := now - r.at
	if passed < viewEvery/2 {
		return
	}
	weight := min(float64(passed)/float64(window), 1)
	for life, n := range work {
		latest := float64(n-r.before[life]) / passed.Seconds()
		r.rate[life] += weight * (latest - r.rate[life])
		r.before[life] = n
	}
	r.at = now
}

func (s *story) view(server string, now time.Duration, r *rates) View {
	r.update(now, s.book.Work())
	at, text, waiting, outcome := s.scene()
	c := s.book.Counters()
	loads, orphans := s.book.Loads()
	steps := script()
	v := View{
		Server: server, Elapsed: now, Steps: len(steps), Text: text, Waiting: waiting, Outcome: outcome,
		Running: len(s.book.ids) - orphans, Orphans: orphans,
		Sent: c.Sent, Done: c.Processed, Repeated: c.Repeated, Doubles: c.Doubles, Notes: s.feed.Notes(),
	}
	if text != "" {
		v.Step, v.Name = at+1, steps[at].name
	}
	rows := map[string]int{} // by identity: the last life of each
	for _, w := range s.fleet.all() {
		row := Row{ID: w.name(), Identity: w.identity, Partitions: loads[w.life], Rate: r.rate[w.life]}
		switch w.fate() {
		case alive, stopping:
			st := w.mgr.Status()
			row.State, row.Leads = st.State.String(), st.Leader
			if st.Leader {
				v.Leader, v.Term, v.Phase = row.ID, st.Term, st.Phase
			}
		case stopped:
			row.State, row.Gone, row.Rate = "stopped", true, 0
		case killed:
			row.State, row.Gone, row.Rate = "killed", true, 0
		}
		if i, ok := rows[w.identity]; ok {
			v.Workers[i] = row
			continue
		}
		rows[w.identity] = len(v.Workers)
		v.Workers = append(v.Workers, row)
	}
	v.Plan = s.feed.Newest()
	return v
}
