package directory

import (
	"fmt"
	"time"
)

// An Option changes how a Directory is kept.
type Option func(*options)

type options struct{ every time.Duration }

// ReconcileInterval says how often the directory makes sure that it has missed nothing: a
// change that was lost on its way is noticed that late. It is 5 s by default, and must be
// positive.
func ReconcileInterval(d time.Duration) Option { return func(o *options) { o.every = d } }

func optionsOf(opts []Option) (options, error) {
	o := options{every: 5 * time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	if o.every <= 0 {
		return o, fmt.Errorf("directory: ReconcileInterval(%v): it must be positive", o.every)
	}
	return o, nil
}
