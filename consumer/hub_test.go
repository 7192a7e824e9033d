package consumer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Nothing is written over the last cursor of a lease: the next owner would take this one for
// crashed.
func TestNothingIsWrittenAfterTheLast(t *testing.T) {
	x := &tenure{have: record{Begun: true, Done: 1, Clean: true}, next: 2}
	if err := x.attempt(t.Context(), &hub{}, false); err != nil || !x.have.Clean { // with no hands to write anything with
		t.Errorf("%+v, %v", x.have, err)
	}
}

// A partition that was let go of does not begin.
func TestWhoHasLeftDoesNotBegin(t *testing.T) {
	first := func() (uint64, error) { return 0, errors.New("it looks where to begin") }
	if err := (&tenure{}).begin(t.Context(), &hub{}, &jetstream.StreamInfo{}, first); err != nil {
		t.Error(err)
	}
}

// While the stream has no leader, one of its servers may answer for it that lags: no cursor is
// moved back to where that one is.
func TestStreamWithoutALeaderIsNotLookedAt(t *testing.T) {
	h := &hub{cursor: &Cursor{core: &core{js: leaderless{}, name: "S"}}}
	if info, err := h.look(t.Context(), []*tenure{{next: 9}}); err == nil {
		t.Errorf("%+v", info.State)
	}
}

// leaderless has a stream that has no leader.
type leaderless struct{ jetstream.JetStream }

func (leaderless) Stream(context.Context, string) (jetstream.Stream, error) {
	return leaderlessStream{}, nil
}

type leaderlessStream struct{ jetstream.Stream }

func (leaderlessStream) CachedInfo() *jetstream.StreamInfo {
	return &jetstream.StreamInfo{Cluster: &jetstream.ClusterInfo{Name: "c"}, State: jetstream.StreamState{LastSeq: 1}}
}

// The cursor of an idle partition is due now and then, also where it says nothing new.
func TestIdleIsDueNowAndThen(t *testing.T) {
	now := time.Now()
	idle := &tenure{have: record{Written: now.Add(-time.Hour)}}
	fresh := &tenure{have: record{Written: now}}
	h := &hub{tenures: map[*tenure]struct{}{idle: {}, fresh: {}}}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{
		{0, 1}, {time.Second, 0}, {idleEvery - time.Second, 0}, {idleEvery, 2}, {idleEvery + time.Second, 0}, {2 * idleEvery, 2},
	} {
		if got := len(h.due(now.Add(c.after))); got != c.want {
			t.Errorf("after %v: %d are due, want %d", c.after, got, c.want)
		}
	}
}
