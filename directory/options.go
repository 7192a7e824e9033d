package directory

import (
	"fmt"
	"reflect"
	"time"

	"github.com/parti-go/parti"
)

// An Option changes how a Directory is kept. A nil Option is ignored.
type Option func(*options)

type options struct{ every time.Duration }

// WithReconcileInterval says how often the directory makes sure that it has missed nothing: a
// change that was lost on its way is noticed that late. Default: 5 s. Range: 100 ms to 24 h.
func WithReconcileInterval(d time.Duration) Option { return func(o *options) { o.every = d } }

// The range of WithReconcileInterval: below it a store is asked more than it is worth, and what
// is above it is a mistake in the unit.
const (
	leastInterval = 100 * time.Millisecond
	mostInterval  = 24 * time.Hour
)

func optionsOf(opts []Option) (options, error) {
	o := options{every: 5 * time.Second}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.every < leastInterval || o.every > mostInterval {
		return o, fmt.Errorf("directory: WithReconcileInterval(%v): use 100ms to 24h", o.every)
	}
	return o, nil
}

// hollow tells whether a store is nil, or an interface around a nil pointer, as it is when
// the error of natskv.Open was not looked at.
func hollow(store parti.Store) bool {
	if store == nil {
		return true
	}
	v := reflect.ValueOf(store)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
