package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/plan"
)

// requestTime is how long one request to the server may take, pageTime one for a page of
// subjects: a hundred thousand of them take a busy server a while.
const (
	requestTime = 5 * time.Second
	pageTime    = 20 * time.Second
)

// Error codes of JetStream.
const (
	codeNoMessage = 10037
	codeNoStream  = 10059
)

// A streamReader asks the leader of a stream. The client's own functions would ask any
// replica for a message, and believe pages of subjects that do not fit together.
type streamReader struct {
	js     jetstream.JetStream
	stream string

	mu   sync.Mutex
	at   streamState // of what all was read from
	all  []plan.Partition
	good bool // there was such
}

// streamState tells one content of a stream from another: nothing can be stored or
// removed without changing it.
type streamState struct {
	Created  time.Time
	Messages uint64
	First    uint64
	Last     uint64
	LastTime time.Time // when a store has gone back, sequences are given out again
}

// streamInfo is what we read of a stream.
type streamInfo struct {
	Created time.Time `json:"created"`
	Config  struct {
		Subjects  []string         `json:"subjects"`
		Retention string           `json:"retention"`
		Mirror    *json.RawMessage `json:"mirror"`
		Sources   []any            `json:"sources"`
		Transform struct {
			Destination string `json:"dest"`
		} `json:"subject_transform"`
	} `json:"config"`
	State struct {
		Messages uint64            `json:"messages"`
		First    uint64            `json:"first_seq"`
		Last     uint64            `json:"last_seq"`
		LastTime time.Time         `json:"last_ts"`
		Subjects map[string]uint64 `json:"subjects"`
	} `json:"state"`
	Cluster *struct {
		Leader string `json:"leader"`
	} `json:"cluster"`
	Total int `json:"total"`
}

func (i *streamInfo) state() streamState {
	return streamState{Created: i.Created, Messages: i.State.Messages, First: i.State.First, Last: i.State.Last, LastTime: i.State.LastTime}
}

// An apiError is what the server has to say against a request.
type apiError struct {
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return e.Description }

// call makes one request of the JetStream API, which is answered in time, or not at all.
func (r *streamReader) call(ctx context.Context, within time.Duration, op string, request, answer any) error {
	subject := apiPrefix(r.js.Options()) + op + "." + r.stream
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	m, err := r.js.Conn().RequestWithContext(bounded, subject, data)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v (has the stream a leader, and has the user the permission to publish to %s?): %w", within, subject, err)
	case err != nil:
		return fmt.Errorf("ask %s: %w", subject, err)
	}
	var refused struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &refused); err != nil {
		return fmt.Errorf("the answer of %s: %w", subject, err)
	}
	switch {
	case refused.Error == nil:
	case refused.Error.Code == codeNoStream:
		return fmt.Errorf("stream %s is not there: make it first, or see whether the name is right: %w", r.stream, refused.Error)
	default:
		return fmt.Errorf("ask %s: %w", subject, refused.Error)
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("the answer of %s: %w", subject, err)
	}
	return nil
}

// apiPrefix is what requests of the JetStream API begin with.
func apiPrefix(o jetstream.JetStreamOptions) string {
	switch {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}

// info asks about the stream, and for a page of the subjects that match filter unless
// that is empty. While the stream has no leader, others of its servers answer, of which one
// may lag, or have next to nothing yet.
func (r *streamReader) info(ctx context.Context, filter string, offset int) (*streamInfo, error) {
	request := struct {
		Filter string `json:"subjects_filter,omitempty"`
		Offset int    `json:"offset,omitempty"`
	}{filter, offset}
	info := new(streamInfo)
	within := requestTime
	if filter != "" {
		within = pageTime
	}
	if err := r.call(ctx, within, "STREAM.INFO", request, info); err != nil {
		return nil, err
	}
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return nil, fmt.Errorf("stream %s has no leader, and another of its servers may not know all of it: see which are down", r.stream)
	}
	return info, nil
}

// fresh lists with f unless the stream is as it was when it was last listed.
func (r *streamReader) fresh(ctx context.Context, check func(*streamInfo) error, f func() ([]plan.Partition, error)) ([]plan.Partition, error) {
	info, err := r.info(ctx, "", 0)
	if err != nil {
		return nil, err
	}
	if err := check(info); err != nil {
		return nil, err
	}
	r.mu.Lock()
	all, same := r.all, r.good && r.at == info.state()
	r.mu.Unlock()
	if same {
		return all, nil
	}
	if all, err = f(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.all, r.at, r.good = all, info.state(), true // what came later is seen next time
	r.mu.Unlock()
	return all, nil
}

const (
	overlap    = 1000 // subjects that a page has of the page before
	pagesTries = 3
)

// errGap says that pages do not fit together.
var errGap = errors.New("subjects are removed faster than they can be listed; list them again")

// subjects is the subjects in the stream that match the filter, with the number of the
// messages of each.
func (r *streamReader) subjects(ctx context.Context, filter string) (map[string]uint64, error) {
	for try := 1; ; try++ {
		all, err := r.pages(ctx, filter)
		if err == nil || try == pagesTries || !errors.Is(err, errGap) {
			return all, err
		}
	}
}

// pages reads page by page. The server sorts the subjects anew for each, so that one that
// was removed meanwhile makes another pass from a later page to an earlier one. So
// the pages overlap, and each must begin where the one before still was.
func (r *streamReader) pages(ctx context.Context, filter string) (map[string]uint64, error) {
	all := map[string]uint64{}
	last := ""
	for offset := 0; ; {
		info, err := r.info(ctx, filter, offset)
		if err != nil {
			return nil, err
		}
		page := slices.Sorted(maps.Keys(info.State.Subjects))
		if offset > 0 && (len(page) == 0 || page[0] > last) {
			return nil, errGap
		}
		maps.Copy(all, info.State.Subjects)
		if offset+len(page) >= info.Total {
			return all, nil
		}
		if len(page) == 0 {
			return nil, fmt.Errorf("the server says that there are %d subjects, and lists none", info.Total)
		}
		last = page[len(page)-1]
		offset += len(page) - min(overlap, len(page)/2)
	}
}
