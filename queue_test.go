package parti

import (
	"reflect"
	"testing"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
)

func told(name string, rev kv.Rev) member.Told {
	return member.Told{Record: member.Record{Key: member.Key{Kind: member.KindSession, Name: name}, Rev: rev}}
}

func TestQueueKeepsOrderAndTheNewestOfEachKey(t *testing.T) {
	q := newQueue()
	q.push(member.Tick{}, told("a", 1), told("b", 2), member.Refresh{})
	q.push(told("a", 3))
	q.push(member.Hole{}, told("a", 4), told("b", 5), told("b", 6))
	q.push(member.Following{}, told("a", 7))
	want := []member.Fact{
		member.Tick{},
		told("a", 3), told("b", 2),
		member.Refresh{},
		member.Hole{},
		told("a", 4), told("b", 6),
		member.Following{},
		told("a", 7),
	}
	if got := q.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := q.take(); len(got) != 0 {
		t.Errorf("twice: %v", got)
	}
	q.push(told("a", 8))
	if got := q.take(); len(got) != 1 {
		t.Errorf("after a take: %v", got)
	}
}

func TestQueueStaysSmall(t *testing.T) {
	q := newQueue()
	for i := range 100_000 {
		q.push(told([]string{"a", "b", "c"}[i%3], kv.Rev(i)))
	}
	if n := len(q.take()); n != 3 {
		t.Errorf("%d facts wait for 3 keys", n)
	}
}

func TestQueueMergesRefreshes(t *testing.T) {
	q := newQueue()
	for range 2 {
		for range 1000 {
			q.push(member.Refresh{})
		}
		if n := len(q.take()); n != 1 {
			t.Errorf("%d facts wait for one listing", n)
		}
	}
}

func TestQueueIsDeafAtLast(t *testing.T) {
	q := newQueue()
	q.push(member.Tick{})
	q.shutDown()
	q.push(member.Tick{}, told("a", 1))
	if got := q.take(); len(got) != 0 {
		t.Error(got)
	}
}

func TestQueueWakesOnce(t *testing.T) {
	q := newQueue()
	for range 5 {
		q.push(member.Tick{})
	}
	<-q.signal
	select {
	case <-q.signal:
		t.Error("woken twice")
	default:
	}
}
