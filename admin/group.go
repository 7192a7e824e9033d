package admin

import (
	"os"
	"os/user"
	"reflect"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/strategy"
)

// A Group is the way to one group. Its methods may be called from several goroutines
// at once. Their errors are those of the store, such as a natskv.DeniedError that names the
// subject which is not permitted, natskv.ErrUnavailable, or natskv.ErrUnknown of an order
// that may have been given; or one of this package's.
type Group struct {
	store    parti.Store
	who      string
	strategy parti.AssignmentStrategy
	now      func() time.Time
}

// An Option changes how a group is looked at. A nil Option is ignored.
type Option func(*Group)

// WithWho says who steers, for the records of it and for other operators: one line of at most
// 500 bytes. By default, and when it is empty, it is the user of this process and its host.
func WithWho(who string) Option { return func(g *Group) { g.who = who } }

// WithStrategy is what [Group.Plan] asks. It should be the fleet's own; by default, and with
// nil, it is strategy.Sticky, as in a Manager.
func WithStrategy(s parti.AssignmentStrategy) Option { return func(g *Group) { g.strategy = s } }

// Open returns the way to the group whose state is in store. It reads nothing. It panics when
// store is nil, as it is when the error of natskv.Open was not looked at.
func Open(store parti.Store, opts ...Option) *Group {
	if v := reflect.ValueOf(store); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		panic("admin: the store is nil: look at the error of natskv.Open")
	}
	g := &Group{store: store, now: time.Now}
	for _, o := range opts {
		if o != nil {
			o(g)
		}
	}
	if g.who == "" {
		g.who = whoami()
	}
	if g.strategy == nil {
		g.strategy = strategy.Sticky()
	}
	return g
}

func whoami() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
