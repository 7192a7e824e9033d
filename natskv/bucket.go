package natskv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
)

// needLevel is the level of JetStream's API that has atomic batches.
const needLevel = 2

// schema is the version of what the bucket is like: its settings and subjects.
const schema = 1

// schemaKey is where a stream says which schema it has.
const schemaKey = "parti.schema"

// markerTTL is how long an expired key leaves a marker.
const markerTTL = time.Minute

func jitter(d time.Duration) time.Duration { return rand.N(max(d, 1)) }

// changes is where changes of keys are republished, a subject for each key.
func (s *Store) changes() string { return "$PARTI." + s.group + ".kv." }

// config is what the stream must be like.
func (s *Store) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                   s.stream,
		Description:            "Parti's state of the group " + s.group,
		Subjects:               []string{s.keys + ">"},
		Retention:              jetstream.LimitsPolicy,
		Storage:                s.storage,
		Replicas:               max(s.replicas, 1),
		MaxMsgsPerSubject:      1, // with more, an expired key would show its older value
		MaxMsgs:                -1,
		MaxBytes:               -1,
		MaxMsgSize:             -1,
		MaxConsumers:           -1,
		Discard:                jetstream.DiscardNew,
		DenyDelete:             true,
		AllowRollup:            true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: markerTTL,
		AllowAtomicPublish:     true,
		AllowDirect:            false, // a replica would answer from the past
		RePublish:              &jetstream.RePublish{Source: s.keys + ">", Destination: s.changes() + ">"},
		Metadata:               map[string]string{schemaKey: strconv.Itoa(schema)},
	}
}

// wrong names the settings of a stream that will not do.
func (s *Store) wrong(have jetstream.StreamConfig) []Setting {
	want := s.config()
	var wrong []Setting
	check := func(name string, have, want any, fixed bool) {
		if h, w := fmt.Sprint(have), fmt.Sprint(want); h != w {
			wrong = append(wrong, Setting{Name: name, Have: h, Want: w, Fixed: fixed})
		}
	}
	check("subjects", have.Subjects, want.Subjects, false)
	check("retention", have.Retention, want.Retention, have.Retention == jetstream.WorkQueuePolicy)
	check("max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject, false)
	check("max_msgs", have.MaxMsgs, want.MaxMsgs, false)
	check("max_bytes", have.MaxBytes, want.MaxBytes, false)
	check("max_msg_size", have.MaxMsgSize, want.MaxMsgSize, false)
	check("max_age", have.MaxAge, want.MaxAge, false)
	check("discard", have.Discard, want.Discard, false)
	check("discard_new_per_subject", have.DiscardNewPerSubject, want.DiscardNewPerSubject, false)
	check("deny_delete", have.DenyDelete, want.DenyDelete, false) // it can be set, and not taken back
	check("deny_purge", have.DenyPurge, want.DenyPurge, true)
	check("allow_rollup_hdrs", have.AllowRollup, want.AllowRollup, false)
	check("allow_msg_ttl", have.AllowMsgTTL, want.AllowMsgTTL, false)
	if have.SubjectDeleteMarkerTTL < time.Second {
		check("subject_delete_marker_ttl", have.SubjectDeleteMarkerTTL, want.SubjectDeleteMarkerTTL, false)
	}
	check("allow_atomic", have.AllowAtomicPublish, want.AllowAtomicPublish, false)
	check("allow_direct", have.AllowDirect, want.AllowDirect, false)
	check("republish", republish(have.RePublish), republish(want.RePublish), false)
	check("sealed", have.Sealed, false, true)
	check("no_ack", have.NoAck, false, false)
	check("mirror", have.Mirror != nil, false, true)
	check("sources", len(have.Sources), 0, false)
	check("subject_transform", have.SubjectTransform != nil, false, false)
	if n, err := strconv.Atoi(have.Metadata[schemaKey]); err == nil && n > schema {
		check(schemaKey, n, fmt.Sprintf("at most %d", schema), true)
	}
	return wrong
}

func republish(r *jetstream.RePublish) string {
	if r == nil {
		return "off"
	}
	if r.HeadersOnly {
		return fmt.Sprintf("%s to %s, headers only", r.Source, r.Destination)
	}
	return fmt.Sprintf("%s to %s", r.Source, r.Destination)
}

// streamInfo is what the server says of the stream.
type streamInfo struct {
	Config jetstream.StreamConfig `json:"config"`
	Now    time.Time              `json:"ts"` // by the clock of the stream's leader
	State  struct {
		Bytes       uint64            `json:"bytes"`
		LastSeq     uint64            `json:"last_seq"`
		NumSubjects int               `json:"num_subjects"`
		Subjects    map[string]uint64 `json:"subjects"`
	} `json:"state"`
	Cluster *jetstream.ClusterInfo `json:"cluster"`
	Total   int                    `json:"total"`
	Offset  int                    `json:"offset"`
	Limit   int                    `json:"limit"`
}

// led says whether the stream has a leader. When it has had none for ten seconds, others of
// its servers answer for it.
func (i *streamInfo) led() bool { return i.Cluster == nil || i.Cluster.Leader != "" }

// errLeaderless is what a server answers to all else when the stream has no leader.
var errLeaderless = &apiError{Code: http.StatusServiceUnavailable, ErrCode: codeNotAvailable, Description: "the stream has no leader"}

// ofLeader is an answer of info, where it is the leader's: that of another may lag.
func ofLeader(info *streamInfo, err error) (*streamInfo, error) {
	if err == nil && !info.led() {
		return nil, errLeaderless
	}
	return info, err
}

// info asks the stream's leader, with a filter also for the subjects that match it.
func (s *Store) info(ctx context.Context, filter string, offset int) (*streamInfo, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	var info *streamInfo
	err = insist(ctx, func() (err error) {
		info, err = s.infoOnce(ctx, filter, offset)
		return err
	})
	return info, err
}

func (s *Store) infoOnce(ctx context.Context, filter string, offset int) (*streamInfo, error) {
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	request := struct {
		Filter string `json:"subjects_filter,omitempty"`
		Offset int    `json:"offset,omitempty"`
	}{filter, offset}
	info := new(streamInfo)
	if err := s.call(ctx, "STREAM.INFO."+s.stream, request, info); err != nil {
		return nil, err
	}
	return info, nil
}

// inspect judges a bucket that is there.
func (s *Store) inspect(ctx context.Context, info *streamInfo) error {
	meta := info.Config.Metadata
	if level, _ := strconv.Atoi(meta["_nats.level"]); level < needLevel {
		return &TooOldError{Server: s.nc.ConnectedServerVersion(), Level: level, Need: needLevel}
	}
	wrong := s.wrong(info.Config)
	if len(wrong) == 0 {
		return nil
	}
	failed := &SettingsError{Stream: s.stream, Wrong: wrong}
	for _, w := range wrong {
		if w.Fixed || !s.repair {
			return failed
		}
	}
	want := s.config()
	want.Storage, want.Replicas, want.Placement = info.Config.Storage, info.Config.Replicas, info.Config.Placement
	if err := s.manage(ctx, "STREAM.UPDATE."+s.stream, want, nil); err != nil {
		return fmt.Errorf("%w (mending it failed: %w)", failed, classify(err))
	}
	s.log.Warn("mended the settings of the stream", "stream", s.stream, "was", failed.Error())
	return nil
}

// establish makes the bucket, for Open. If somebody else was faster, it is as good.
func (s *Store) establish(ctx context.Context) error {
	var account account
	if err := s.manage(ctx, "INFO", nil, &account); err != nil {
		return classify(err)
	}
	if account.API.Level < needLevel {
		return &TooOldError{Server: s.nc.ConnectedServerVersion(), Level: account.API.Level, Need: needLevel}
	}
	if err := s.createStream(ctx, kv.FirstIncarnation(time.Now())); err != nil {
		return err
	}
	for try := 0; ; try++ {
		info, err := s.info(ctx, "", 0)
		switch {
		case err == nil:
			return s.inspect(ctx, info)
		case !isCode(err, codeNoStream) || try >= formTries:
			return classify(err)
		}
		// Somebody else's create is known to the cluster, but not yet to this node.
		if sleep(ctx, formWait) != nil {
			return classify(err)
		}
	}
}

// manage is a call that may take as long as ctx allows, at least some seconds: a
// cluster may have to place a stream first.
func (s *Store) manage(ctx context.Context, method string, request, into any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, max(s.timeout, 10*time.Second), errSilence)
	defer cancel()
	return s.call(ctx, method, request, into)
}

// createStream makes the stream, beginning in that incarnation. It is nil also
// when there is one by now.
//
// The first sequence is a random one of the lower quarter of the incarnation:
// two buckets that were made under one incarnation, by processes that knew nothing
// of each other, still give out no revision twice. Whoever is second is refused, so
// only one such choice is ever in force.
func (s *Store) createStream(ctx context.Context, incarnation uint32) error {
	cfg := s.config()
	cfg.FirstSeq = uint64(kv.Floor(incarnation)) + 1 + rand.Uint64N(1<<36)
	clustered := s.nc.ConnectedClusterName() != ""
	if s.replicas == 0 && clustered {
		cfg.Replicas = 3
	}
	for try := 0; ; try++ {
		err := s.manage(ctx, "STREAM.CREATE."+s.stream, cfg, nil)
		switch {
		case err == nil, isCode(err, codeNameInUse):
			s.forming.over()
			return nil
		case isCode(err, codeNoPeers) && clustered && s.forming.lasts(time.Now()) < formTries*formWait:
			// A cluster that has just come up refuses replicas until its leader has
			// heard of all nodes.
			if err := sleep(ctx, formWait); err != nil {
				return classify(err)
			}
		case isCode(err, codeCreateFailed) && try < formTries:
			// The server still removes the files of the stream that was lost. A disk
			// that is full or broken says the same, and goes on saying it.
			if err := sleep(ctx, jitter(formWait)); err != nil {
				return classify(err)
			}
		case (isCode(err, codeNoPeers) || isCode(err, codeNoReplicas)) && s.replicas == 0 && cfg.Replicas > 1:
			s.log.Warn("the cluster has no three nodes with JetStream: the bucket has one replica", "stream", s.stream)
			cfg.Replicas = 1
		case errors.Is(err, errSilence), errors.Is(err, errInterrupted):
			return fmt.Errorf("%w: %w", kv.ErrUnknown, err)
		default:
			return classify(err)
		}
	}
}

// A young cluster gets formTries × formWait to come together.
const (
	formTries = 20
	formWait  = 250 * time.Millisecond
)

// forming is the wait for a cluster to come together. It is as long whatever the time for
// one call: who may not wait so long calls again, and the wait goes on.
type forming struct {
	mu          sync.Mutex
	since, last time.Time // of refusals in a row
}

// formGap is how long after a refusal another one belongs to the same wait.
const formGap = time.Minute

// lasts notes a refusal, and returns for how long there was nothing else.
func (f *forming) lasts(now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() || now.Sub(f.last) > formGap {
		f.since = now
	}
	f.last = now
	return now.Sub(f.since)
}

// over ends the wait.
func (f *forming) over() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since = time.Time{}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
