package parti

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A courier wakes the goroutine that calls the user's code, and knows how far it
// has come, so that Stop can wait for it, also when it is called from that code.
type courier struct {
	whose  string        // code it calls
	signal chan struct{} // holds one: there is something to do
	closed chan struct{} // nothing will come any more
	done   chan struct{} // the goroutine has ended

	mu     sync.Mutex
	number uint64 // of the call that is under way, or of the last
	under  bool   // a call is under way
}

func (c *courier) init() {
	c.signal = make(chan struct{}, 1)
	c.closed = make(chan struct{})
	c.done = make(chan struct{})
}

func (c *courier) wake() {
	select {
	case c.signal <- struct{}{}:
	default: // one is enough
	}
}

// wait reports whether there may be something to do. After close it says so once
// more, and then never again.
func (c *courier) wait() bool {
	select {
	case <-c.signal:
		return true
	default:
	}
	select {
	case <-c.signal:
		return true
	case <-c.closed:
		select {
		case <-c.signal:
			return true
		default:
			return false
		}
	}
}

// calling marks f as a call of the user's code.
func (c *courier) calling(f func()) {
	c.mu.Lock()
	c.number++
	c.under = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.under = false
		c.mu.Unlock()
	}()
	f()
}

// current is the number of the call under way, or zero.
func (c *courier) current() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.under {
		return 0
	}
	return c.number
}

// delivered waits until the goroutine has ended, unless it is still in the call of
// that number: then the caller may be that very call. Once ctx ends it waits only a
// moment more, and says who does not return.
func (c *courier) delivered(ctx context.Context, asked uint64) error {
	if asked != 0 && c.current() == asked {
		return nil
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	if within(abandonGrace, func() { <-c.done }) {
		return nil
	}
	return fmt.Errorf("parti: %s does not return, and is left behind: %w", c.whose, context.Cause(ctx))
}

// within reports whether wait returns in that time. Its goroutine ends with it,
// however late that is.
func within(d time.Duration, wait func()) bool {
	ended := make(chan struct{})
	go func() {
		wait()
		close(ended)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}
