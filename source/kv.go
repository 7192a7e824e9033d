package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/plan"
)

// KV lists the keys of a JetStream KV bucket: each is the ID of a partition. Its value is
// empty, or a weight such as 5, or an object such as {"weight": 5, "labels": {"room": "3"}}.
//
// It is live: a change of the bucket is noticed at once. Besides, it is looked at every so
// often ([Every]), because a watch is blind for up to 20 s when the server that has
// it is lost, and for as long as the user lacks a permission for it. A key that is not there
// is a partition that is not there: one that has only to be changed is not deleted first.
//
// Each listing of a changed bucket reads all keys at the leader of its stream, one by one
// and 16 at a time; one of an unchanged bucket is one small request. That is for
// some ten thousands of keys. Use a bucket of its own, not that of the group. The user
// needs the permission to publish to $JS.API.STREAM.INFO.KV_<bucket>,
// $JS.API.STREAM.MSG.GET.KV_<bucket> and what a watch needs.
func KV(js jetstream.JetStream, bucket string, opts ...KVOption) (*Watched, error) {
	o := options{every: 10 * time.Second}
	for _, set := range opts {
		if set != nil {
			set.kv(&o)
		}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := checkStream("KV", js, bucket); err != nil {
		return nil, err
	}
	b := &kvBucket{
		streamReader: streamReader{js: js, stream: "KV_" + bucket},
		name:         "bucket " + bucket, bucket: bucket, keys: "$KV." + bucket + ".",
	}
	return &Watched{name: b.name, opts: o, read: b.read, listen: b.listen}, nil
}

type kvBucket struct {
	streamReader

	name   string
	bucket string
	keys   string // what the subjects of keys begin with
}

func (b *kvBucket) read(ctx context.Context) ([]plan.Partition, error) {
	return b.fresh(ctx, b.check, func() ([]plan.Partition, error) {
		subjects, err := b.subjects(ctx, b.keys+">")
		if err != nil {
			return nil, err
		}
		keys := make([]string, 0, len(subjects))
		for subject := range subjects {
			keys = append(keys, strings.TrimPrefix(subject, b.keys))
		}
		slices.Sort(keys)
		return b.values(ctx, keys)
	})
}

func (b *kvBucket) check(info *streamInfo) error {
	if info.Config.Mirror != nil {
		return errors.New("it is a mirror: use the bucket that it mirrors")
	}
	return nil
}

// abreast is how many keys are read at a time.
const abreast = 16

// values reads the keys at the stream's leader.
func (b *kvBucket) values(ctx context.Context, keys []string) ([]plan.Partition, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type value struct {
		data []byte
		gone bool
	}
	var (
		wg     sync.WaitGroup
		values = make([]value, len(keys))
		work   = make(chan int)
	)
	for range min(abreast, len(keys)) {
		wg.Go(func() {
			for i := range work {
				data, gone, err := b.surely(ctx, keys[i])
				if err != nil {
					cancel(fmt.Errorf("key %q: %w", keys[i], err))
				}
				values[i] = value{data, gone}
			}
		})
	}
	for i := range keys {
		if ctx.Err() != nil {
			break
		}
		work <- i
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var c collector
	for i, v := range values {
		if v.gone {
			continue
		}
		at := spot{word: fmt.Sprintf("key %q", keys[i])}
		p, err := parseValue(keys[i], v.data)
		if err != nil {
			c.fault(at, err)
			continue
		}
		c.add(at, p)
	}
	return c.list(b.name)
}

// surely reads the last value of a key that was listed, or that it has none any more. A
// server also says that there is none when it cannot read it, for want of files or of a disk,
// and lists its keys from memory: what it still lists is no partition that is gone.
func (b *kvBucket) surely(ctx context.Context, key string) (data []byte, gone bool, err error) {
	data, gone, err = b.get(ctx, key)
	if !errors.Is(err, errNoValue) {
		return data, gone, err
	}
	info, err := b.info(ctx, b.keys+key, 0)
	if err != nil {
		return nil, false, err
	}
	if len(info.State.Subjects) == 0 {
		return nil, true, nil
	}
	data, gone, err = b.get(ctx, key) // it may have been written again
	if errors.Is(err, errNoValue) {
		err = errors.New("the server lists it and cannot read it: see its log")
	}
	return data, gone, err
}

// errNoValue says that a key has not even a marker.
var errNoValue = errors.New("it has no value")

// get reads the last value of a key, or that it was removed.
func (b *kvBucket) get(ctx context.Context, key string) (data []byte, gone bool, err error) {
	request := struct {
		Last string `json:"last_by_subj"`
	}{b.keys + key}
	var answer struct {
		Message struct {
			Header []byte `json:"hdrs"`
			Data   []byte `json:"data"`
		} `json:"message"`
	}
	if err := b.call(ctx, requestTime, "STREAM.MSG.GET", request, &answer); err != nil {
		var refused *apiError
		if errors.As(err, &refused) && refused.Code == codeNoMessage {
			return nil, false, errNoValue
		}
		return nil, false, err
	}
	if len(answer.Message.Header) > 0 {
		h, err := nats.DecodeHeadersMsg(answer.Message.Header)
		if err != nil {
			return nil, false, err
		}
		// A marker stands for a key that was deleted, purged, or has expired.
		gone = h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != ""
	}
	return answer.Message.Data, gone, nil
}

// parseValue makes a partition of a key and its value.
func parseValue(key string, data []byte) (plan.Partition, error) {
	p := plan.Partition{ID: key}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return p, nil
	}
	var err error
	if data[0] != '{' {
		p.Weight, err = parseWeight(string(data))
		return p, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	switch {
	case !utf8.Valid(data):
		return p, errors.New("its value is not valid UTF-8: encode it so")
	case !json.Valid(data):
		return p, errors.New(`its value is not valid JSON: write nothing, a weight, or {"weight": 5, "labels": {"room": "3"}}`)
	}
	v, err := jsonValue(dec, 0)
	if err != nil {
		return p, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return p, errNoList
	}
	if _, ok := object["id"]; ok {
		return p, errors.New("its value has an id: leave that to the key")
	}
	err = parseFields(object, &p, "weight and labels")
	return p, err
}

// listen tells of every change of the bucket.
func (b *kvBucket) listen(ctx context.Context, news func()) error {
	bounded, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	kv, err := b.js.KeyValue(bounded, b.bucket)
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx, jetstream.UpdatesOnly(), jetstream.MetaOnly())
	if err != nil {
		return err
	}
	defer stop(w)
	if b.js.Conn().IsClosed() { // as the watch began, which then does not hear of it
		return nats.ErrConnectionClosed
	}
	news() // since the look before
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch has ended")
			}
			news()
		}
	}
}

// stop ends a watch. One that nobody reads would not end; but one whose connection was
// lost as it began does not say that it has.
func stop(w jetstream.KeyWatcher) {
	_ = w.Stop() // fails only where the connection is closed
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-w.Updates():
			if !ok {
				return
			}
		case <-timer.C:
			return
		}
	}
}
