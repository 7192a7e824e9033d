package source

import (
	"context"
	"fmt"
	"time"

	"github.com/parti-go/parti/plan"
)

// An Option is for every source that watches. A nil option, of this kind or another, is
// ignored.
type Option interface {
	FileOption
	KVOption
	SubjectsOption
	SQLOption
}

// A FileOption is for [File].
type FileOption interface{ file(*options) }

// A KVOption is for [KV].
type KVOption interface{ kv(*options) }

// A SubjectsOption is for [Subjects].
type SubjectsOption interface{ subjects(*options) }

// A SQLOption is for [SQL].
type SQLOption interface{ sql(*options) }

type options struct {
	every   time.Duration
	observe func(plan.Changes)

	format format // of a file
	decode func([]byte, any) error

	whole, weigh bool // of subjects

	args   []any // of a query
	listen func(ctx context.Context, changed func()) error
}

type (
	anyOption      func(*options)
	fileOption     func(*options)
	subjectsOption func(*options)
	sqlOption      func(*options)
)

func (f anyOption) file(o *options)          { f(o) }
func (f anyOption) kv(o *options)            { f(o) }
func (f anyOption) subjects(o *options)      { f(o) }
func (f anyOption) sql(o *options)           { f(o) }
func (f fileOption) file(o *options)         { f(o) }
func (f subjectsOption) subjects(o *options) { f(o) }
func (f sqlOption) sql(o *options)           { f(o) }

// Every is how often a source is looked at while this worker leads, besides what tells
// of changes by itself. Default: 1 s for [File], 10 s for the others.
// Range: 100 ms to 24 h.
func Every(d time.Duration) Option { return anyOption(func(o *options) { o.every = d }) }

// Observe is told what changed each time that a listing given to the leader differs from
// the one given before; its String names the first few. f is called by ListPartitions
// and must not wait. Of several Observe the last counts. Default, and with nil: nobody is
// told; the leader's decision log has it as well.
func Observe(f func(plan.Changes)) Option { return anyOption(func(o *options) { o.observe = f }) }

// An OptionError is an option, or an argument, that will not do.
type OptionError struct {
	Option, Value, Want string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("source: %s(%s): %s", e.Option, e.Value, e.Want)
}

// check looks at what all sources have.
func (o *options) check() error {
	if o.every < 100*time.Millisecond || o.every > 24*time.Hour {
		return &OptionError{Option: "Every", Value: o.every.String(), Want: "use 100ms to 24h"}
	}
	return nil
}
