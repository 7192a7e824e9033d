package natskv

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
)

// bucket looks at the settings of the stream and at what is in it.
func (i *inspection) bucket(info *streamInfo) {
	s := i.store
	wrong := s.wrong(info.Config)
	for _, w := range wrong {
		what := fmt.Sprintf("%s of %s is %s and must be %s", w.Name, s.stream, w.Have, w.Want)
		fix := "open it once with natskv.WithRepair(), or use `nats stream edit " + s.stream + "`"
		switch {
		case w.newer():
			fix = "it is of a newer release: upgrade this process, and leave the bucket as it is"
		case w.Fixed:
			fix = "it cannot be changed on a stream that exists: stop the group, `nats stream rm " + s.stream + "`, and let a worker make it"
		}
		i.say("settings", kv.Wrong, what, "workers refuse to start on such a bucket, and what runs may fail", fix)
	}
	if len(wrong) == 0 {
		i.fine("settings", fmt.Sprintf("all settings of %s are right; markers of what has expired stay for %v", s.stream, info.Config.SubjectDeleteMarkerTTL))
	}
	held := fmt.Sprintf("%d keys and markers, %d KiB, incarnation %d", info.State.NumSubjects, info.State.Bytes>>10, kv.Rev(info.State.LastSeq).Incarnation())
	if info.Config.Storage == jetstream.MemoryStorage {
		i.say("storage", kv.Note, "the bucket is kept in memory: "+held, "when all servers that have it restart, it is lost; workers that are alive make it anew from what they hold", "if that is not meant, make it without natskv.WithMemory")
		return
	}
	i.fine("storage", "the bucket is kept in files: "+held)
}

// lagging is how many writes a replica may be behind before it is worth a word.
const lagging = 1000

// replicas looks at the nodes that have the bucket.
func (i *inspection) replicas(info *streamInfo) {
	s := i.store
	c := info.Cluster
	if c == nil || c.Name == "" {
		i.fine("replicas", "one, on a server without a cluster: while it is away, workers go on with what they have, or stop in time")
		return
	}
	n := info.Config.Replicas
	switch {
	case n == 1:
		i.say("replicas", kv.Warn, fmt.Sprintf("one replica, on %s of cluster %s", c.Leader, c.Name), "while that server is away, the group has no store, though the others run", "`nats stream edit "+s.stream+" --replicas 3`, where the cluster has three nodes")
		return
	case n%2 == 0:
		i.say("replicas", kv.Warn, fmt.Sprintf("%d replicas", n), "an even number bears the loss of no more servers than one less, and waits for one more", fmt.Sprintf("`nats stream edit %s --replicas %d`", s.stream, n-1))
	}
	current, bad := 1, false // the leader has answered
	for _, p := range c.Replicas {
		var what string
		switch {
		case p.Offline:
			what = "is offline"
		case !p.Current:
			what = fmt.Sprintf("is not current: %d writes behind, heard of %v ago", p.Lag, p.Active.Round(time.Millisecond))
		case p.Lag > lagging:
			what = fmt.Sprintf("is %d writes behind", p.Lag)
			current++
		default:
			current++
			continue
		}
		bad = true
		i.say("replicas", kv.Warn, fmt.Sprintf("the replica on %s %s", p.Name, what), "it takes no part in keeping the bucket, and does not count when another is lost", "see what is wrong with that server; after a restart it catches up by itself")
	}
	if missing := n - 1 - len(c.Replicas); missing > 0 {
		bad = true
		i.say("replicas", kv.Warn, fmt.Sprintf("%d of %d replicas have no server", missing, n), "they do not count when another is lost", "see `nats stream info "+s.stream+"`")
	}
	need := n/2 + 1
	switch {
	case current < need:
		i.say("replicas", kv.Wrong, fmt.Sprintf("%d of %d replicas are current, and %d are needed", current, n, need), "nothing can be written", "bring the servers back that are offline")
	case current == need && need < n:
		i.say("replicas", kv.Warn, fmt.Sprintf("%d of %d replicas are current: none of these may be lost", current, n), "with one less nothing can be written", "bring the servers back that are offline")
	case !bad:
		i.fine("replicas", fmt.Sprintf("%d of %d are current, led by %s", current, n, c.Leader))
	}
}

// account is what JetStream says of the account.
type account struct {
	tier

	Tiers map[string]tier `json:"tiers"`
	API   struct {
		Level int `json:"level"`
	} `json:"api"`
}

// A tier is what is used of what is allowed. Where there are tiers, each is for streams of
// so many replicas, such as R3.
type tier struct {
	Memory          int64 `json:"memory"`
	Storage         int64 `json:"storage"`
	ReservedMemory  int64 `json:"reserved_memory"`
	ReservedStorage int64 `json:"reserved_storage"`
	Streams         int64 `json:"streams"`
	Consumers       int64 `json:"consumers"`
	Limits          struct {
		MaxMemory        int64 `json:"max_memory"`
		MaxStorage       int64 `json:"max_storage"`
		MaxStreams       int64 `json:"max_streams"`
		MaxConsumers     int64 `json:"max_consumers"`
		MaxBytesRequired bool  `json:"max_bytes_required"`
	} `json:"limits"`
}

// account looks at what the account may have. Without the bucket, it also says the level
// of the server.
func (i *inspection) account(ctx context.Context, info *streamInfo) {
	s := i.store
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return // ctx has ended
	}
	defer cancel()
	var a account
	if err := s.call(ctx, "INFO", nil, &a); err != nil {
		i.unseen("account", "what the account may have", err)
		return
	}
	if info == nil {
		if a.API.Level < needLevel {
			i.tooOld(s.nc.ConnectedServerVersion(), a.API.Level)
		} else {
			i.fine("server", fmt.Sprintf("version %s, JetStream API level %d", s.nc.ConnectedServerVersion(), a.API.Level))
		}
	}
	before := len(i.found)
	i.tier("account", a.tier, info)
	for _, name := range slices.Sorted(maps.Keys(a.Tiers)) {
		i.tier("account, tier "+name, a.Tiers[name], info)
	}
	if len(i.found) == before {
		i.fine("account", "none of its limits is near")
	}
}

// A limit is near when so much of it is used, in percent; and as good as reached.
const (
	near    = 80
	reached = 98
)

// percent is so many percent of a limit, also of the largest there is.
func percent(n, of int64) int64 { return of/100*n + of%100*n/100 }

// tier looks at one set of limits.
func (i *inspection) tier(about string, t tier, info *streamInfo) {
	if t.Limits.MaxBytesRequired && info == nil {
		i.say(about, kv.Wrong, "the account requires every stream to have max_bytes", "the bucket has none, and so cannot be made", "switch max_bytes_required off for this account")
	}
	for _, use := range []struct {
		what      string
		used, max int64
		harm      string
	}{
		{"bytes of storage", max(t.Storage, t.ReservedStorage), t.Limits.MaxStorage, "when there is no more, no heartbeat can be written to a bucket in files"},
		{"bytes of memory", max(t.Memory, t.ReservedMemory), t.Limits.MaxMemory, "when there is no more, no heartbeat can be written to a bucket in memory"},
		{"streams", t.Streams, t.Limits.MaxStreams, "a bucket that is not there, or was lost, cannot be made"},
		{"consumers", t.Consumers, t.Limits.MaxConsumers, "partitions whose consumer is not there yet cannot be consumed"},
	} {
		level := kv.Warn
		switch {
		case use.max <= 0 || use.used < percent(near, use.max): // 0 and -1: no limit
			continue
		case use.used >= percent(reached, use.max):
			level = kv.Wrong
		}
		i.say(about, level, fmt.Sprintf("%d of %d %s are used", use.used, use.max, use.what), use.harm, "raise the account's limit, or remove what nobody needs")
	}
}
