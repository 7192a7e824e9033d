//go:build !unix

package run

import (
	"context"

	"github.com/nats-io/nats.go"
)

// Run is for other systems: it returns [ErrUnsupported].
func Run(context.Context, Options) error { return ErrUnsupported }

// Guard is for other systems: it returns [ErrUnsupported].
func Guard() error { return ErrUnsupported }

// An Embedded is for other systems.
type Embedded struct{}

// Embed is for other systems: it returns [ErrUnsupported].
func Embed(string, func(string)) (*Embedded, error) { return nil, ErrUnsupported }

// Connect returns [ErrUnsupported].
func (*Embedded) Connect(...nats.Option) (*nats.Conn, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Embedded) Close() {}
