package parti

import (
	"fmt"
	"strconv"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// kinds are the wire's words for the member's kinds.
var kinds = [...]wire.Kind{
	member.KindSession: wire.Session, member.KindLeader: wire.Leader, member.KindPlan: wire.Plan, member.KindSlice: wire.Slice,
	member.KindAside: wire.Aside, member.KindLog: wire.Log, member.KindControl: wire.Control, member.KindChain: wire.Chain,
}

// keyOf is the key of a record in the store.
func keyOf(k member.Key) string {
	if k.Kind == member.KindLog {
		if n, err := strconv.ParseUint(k.Name, 10, 64); err == nil {
			return wire.LogKey(plan.Version(n)).String() // in the order of versions
		}
	}
	return wire.Key{Kind: kinds[k.Kind], Name: k.Name}.String()
}

// prefixOf stands for all that is to be followed or listed.
func prefixOf(f member.Follow) string {
	if f.Name == "" {
		return kinds[f.Kind].Prefix()
	}
	return keyOf(member.Key(f))
}

// parseKey reads a key; false when it is none of ours.
func parseKey(key string) (member.Key, bool) {
	k, err := wire.ParseKey(key)
	if err != nil {
		return member.Key{}, false
	}
	if v, err := k.Version(); err == nil {
		return member.Key{Kind: member.KindLog, Name: strconv.FormatUint(uint64(v), 10)}, true
	}
	for kind, word := range kinds {
		if word == k.Kind {
			return member.Key{Kind: member.Kind(kind), Name: k.Name}, true
		}
	}
	return member.Key{}, false
}

// encode makes a write of a record.
func encode(p member.Put) (kv.Write, error) {
	w := kv.Write{Key: keyOf(p.Record.Key), Last: p.Record.Rev, TTL: p.TTL, Remove: p.Record.Gone}
	if w.Remove {
		return w, nil
	}
	var err error
	w.Value, err = wire.Encode(p.Record.Value)
	return w, err
}

// decode makes a record of what the store holds. What cannot be read is Unreadable.
func decode(key member.Key, e kv.Entry) member.Record {
	r := member.Record{Key: key, Rev: e.Rev, Gone: e.Gone}
	if e.Gone {
		return r
	}
	switch key.Kind {
	case member.KindSession:
		read[roster.Session](&r, e)
	case member.KindLeader:
		read[elect.Leader](&r, e)
	case member.KindPlan:
		read[plan.Head](&r, e)
	case member.KindSlice:
		read[plan.Slice](&r, e)
	case member.KindAside:
		read[[]plan.Aside](&r, e)
	case member.KindLog:
		read[plan.Decision](&r, e)
	case member.KindControl:
		read[plan.Control](&r, e)
	case member.KindChain:
		read[plan.Version](&r, e)
	default:
		panic(fmt.Sprintf("parti: unknown kind %v", key.Kind))
	}
	return r
}

func read[T any](r *member.Record, e kv.Entry) {
	var v T
	if err := wire.Decode(e.Key, e.Value, &v); err != nil {
		r.Unreadable = err
		return
	}
	r.Value = v
}
