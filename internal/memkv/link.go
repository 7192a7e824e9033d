package memkv

import (
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// set changes the faults of the link with the mutex held.
func (c *Client) set(change func()) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	change()
	c.refresh()
}

// Cut breaks the connection so that both sides know, until Mend.
func (c *Client) Cut() { c.set(func() { c.cut = true }) }

// BlackHole lets nothing through, in either direction, until Mend. The client
// finds out after 6 s and is then disconnected. When it is mended before, what
// was held up arrives, as TCP would have it: also writes whose caller has given up.
func (c *Client) BlackHole() {
	c.set(func() {
		if c.black {
			return
		}
		c.black = true
		c.episode++
		episode := c.episode
		c.server.after(noticeAfter, func() {
			if c.black && c.episode == episode {
				c.noticed = true
				c.refresh()
			}
		})
	})
}

// Lose loses that traffic, silently and in that direction only, until Mend.
// Calls add up.
func (c *Client) Lose(t Traffic) { c.set(func() { c.lose |= t }) }

// Slow makes every request take f() on its way there, and f() on its way back. f
// is called with a lock held, and must not call memkv.
func (c *Client) Slow(f func() time.Duration) { c.set(func() { c.slow = f }) }

// LoseNextAnswer lets the next write happen and reports ErrUnknown. Calls add up.
func (c *Client) LoseNextAnswer() { c.set(func() { c.loseAnswer++ }) }

// LateWrites lets every write end as ErrUnknown when its time is over, and
// arrive d after it was sent, whatever has happened since.
func (c *Client) LateWrites(d time.Duration) { c.set(func() { c.late = d }) }

// Stale answers reads with what is true now, until Mend, as a replica does that
// does not know that it was left behind. Writes and Follow are as ever.
func (c *Client) Stale() { c.set(func() { c.stale = c.server.table.Clone() }) }

// Tamper lets f decide the fate of each change that a Follow of this view is
// told. f is called with a lock held, and must not call memkv.
func (c *Client) Tamper(f func(kv.Entry) Fate) { c.set(func() { c.tamper = f }) }

// Refuse fails each request of this view for which f returns an error, with that
// error; nothing happens at the server. f is called with a lock held, and must
// not call memkv.
func (c *Client) Refuse(f func(Op) error) { c.set(func() { c.refuse = f }) }

// Overhear tells f of each request of this view that is made while it is connected, also after
// Mend. f is called with a lock held, and must not call memkv.
func (c *Client) Overhear(f func(Op)) { c.set(func() { c.overhear = f }) }

// Hang loses each read or write of this view for which f says so, while others are
// answered; for probes there is Lose. f is called with a lock held, and must not call memkv.
func (c *Client) Hang(f func(Op) bool) { c.set(func() { c.hang = f }) }

// Omit leaves keys out of what List and Names answer, as if they were not there. f is called with a
// lock held, and must not call memkv.
func (c *Client) Omit(f func(key string) bool) { c.set(func() { c.omit = f }) }

// RepeatWrites lets every write arrive a second time, d after the first, whatever has
// happened since; nobody hears of the second outcome.
func (c *Client) RepeatWrites(d time.Duration) { c.set(func() { c.again = d }) }

// Mend ends all faults of the link and connects it again, unless the server is down.
func (c *Client) Mend() {
	c.set(func() {
		held := c.held
		c.held = nil
		c.faults = faults{}
		for _, send := range held {
			send()
		}
		c.server.wake(c)
	})
}

// Struck counts how often faults of that kind struck this view.
func (c *Client) Struck(f Fault) int {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.struck[f]
}
