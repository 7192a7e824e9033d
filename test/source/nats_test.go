package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/natstest"
)

// patience is how long to wait for what must happen; it measures nothing.
const patience = 2 * time.Minute

// everywhere runs a test on one node and on three.
func everywhere(t *testing.T, run func(t *testing.T, js jetstream.JetStream, replicas int)) {
	t.Helper()
	t.Run("one", func(t *testing.T) { run(t, natstest.JetStream(t, natstest.Connect(t, natstest.Start(t))), 1) })
	t.Run("three", func(t *testing.T) { run(t, natstest.JetStream(t, natstest.StartCluster(t, 3).Connect(t, 0)), 3) })
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// makeAnyhow retries what a cluster refuses while it comes together, or does not answer.
func makeAnyhow[T any](t *testing.T, f func(ctx context.Context) (T, error)) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		v, err := f(once)
		cancel()
		if err == nil {
			return v
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond) // it may be refused at once
	}
}

func makeBucket(t *testing.T, js jetstream.JetStream, cfg jetstream.KeyValueConfig) jetstream.KeyValue {
	t.Helper()
	return makeAnyhow(t, func(ctx context.Context) (jetstream.KeyValue, error) { return js.CreateKeyValue(ctx, cfg) })
}

func makeStream(t *testing.T, js jetstream.JetStream, cfg jetstream.StreamConfig) jetstream.Stream {
	t.Helper()
	return makeAnyhow(t, func(ctx context.Context) (jetstream.Stream, error) { return js.CreateStream(ctx, cfg) })
}

// must ends the test when one of the errors is one.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, kv jetstream.KeyValue, key, value string) {
	t.Helper()
	if _, err := kv.PutString(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, js jetstream.JetStream, subject string) {
	t.Helper()
	once := jetstream.WithMsgID(nuid.Next())
	makeAnyhow(t, func(ctx context.Context) (*jetstream.PubAck, error) { return js.Publish(ctx, subject, nil, once) })
}

// listed is what a source lists, as text. It is asked again when it got no answer, as while
// a cluster elects a leader.
func listed(t *testing.T, w *source.Watched) string {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		all, err := w.ListPartitions(t.Context())
		switch {
		case err == nil:
			return text(all)
		case !natstest.Passing(err) && !strings.Contains(err.Error(), "temporarily unavailable") || time.Now().After(end):
			return err.Error()
		}
		<-time.After(10 * time.Millisecond) // that nobody answers may be heard at once
	}
}

func text(all []parti.Partition) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.ID
		if p.Weight != 0 {
			words[i] += fmt.Sprintf(":%d", p.Weight)
		}
		if len(p.Labels) > 0 {
			words[i] += fmt.Sprint(p.Labels)
		}
	}
	return strings.Join(words, " ")
}

// A watching source is asked whenever it says that it changed.
type watching struct {
	t       *testing.T
	w       *source.Watched
	changed chan struct{}
	calls   atomic.Int64
}

// watch watches until the test ends.
func watch(t *testing.T, w *source.Watched) *watching {
	t.Helper()
	x := &watching{t: t, w: w, changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := w.Watch(ctx, func() {
				x.calls.Add(1)
				select {
				case x.changed <- struct{}{}:
				default:
				}
			}); err != nil {
				t.Log(err)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return x
}

// becomes waits until the source, asked whenever it says so, lists this.
func (x *watching) becomes(want string) {
	x.t.Helper()
	late := time.After(patience)
	got := ""
	for {
		select {
		case <-x.changed:
			if got = listed(x.t, x.w); got == want {
				return
			}
		case <-late:
			x.t.Fatalf("%s, want %s", got, want)
		}
	}
}

// A bucket lists its keys, live: looking is left to once a day.
func TestKV(t *testing.T) {
	everywhere(t, func(t *testing.T, js jetstream.JetStream, replicas int) {
		w, err := source.KV(js, "tools", source.Every(24*time.Hour))
		must(t, err)
		if got := listed(t, w); got != "source: bucket tools: stream KV_tools is not there: make it first, or see whether the name is right: stream not found" {
			t.Error(got)
		}
		kv := makeBucket(t, js, jetstream.KeyValueConfig{Bucket: "tools", Replicas: replicas, History: 5})
		if got := listed(t, w); got != "" {
			t.Error(got)
		}
		x := watch(t, w)
		put(t, kv, "a", "")
		x.becomes("a")
		put(t, kv, "b.1", "5")
		x.becomes("a b.1:5")
		put(t, kv, "a", `{"weight": 7, "labels": {"room": "3"}}`)
		x.becomes("a:7map[room:3] b.1:5")
		must(t, kv.Delete(t.Context(), "b.1"))
		x.becomes("a:7map[room:3]")
		must(t, kv.Purge(t.Context(), "a"))
		x.becomes("")
		for n := range 50 {
			put(t, kv, fmt.Sprintf("k%02d", n/2), "3") // all twice
		}
		keys := make([]string, 25)
		for n := range keys {
			keys[n] = fmt.Sprintf("k%02d:3", n)
		}
		x.becomes(strings.Join(keys, " "))
		put(t, kv, "y", "much")
		x.becomes(`source: bucket tools: key "y": the weight "much" is not a whole number that fits into 64 bits: write one, such as 5`)
		must(t, kv.Delete(t.Context(), "y"))
		x.becomes(strings.Join(keys, " "))
	})
}

// A key that expires is no partition any more.
func TestKVExpires(t *testing.T) {
	everywhere(t, func(t *testing.T, js jetstream.JetStream, replicas int) {
		kv := makeBucket(t, js, jetstream.KeyValueConfig{Bucket: "tools", Replicas: replicas, LimitMarkerTTL: time.Minute})
		w, err := source.KV(js, "tools", source.Every(24*time.Hour))
		must(t, err)
		put(t, kv, "a", "")
		if got := listed(t, w); got != "a" {
			t.Error(got)
		}
		x := watch(t, w)
		if _, err := kv.Create(t.Context(), "z", nil, jetstream.KeyTTL(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		x.becomes("a z")
		x.becomes("a")
	})
}

// What no watch hears of is found by looking.
func TestKVIsLookedAt(t *testing.T) {
	ns := natstest.Start(t)
	js := jetStream(t, natstest.Connect(t, ns))
	kv := makeBucket(t, js, jetstream.KeyValueConfig{Bucket: "tools", History: 1})
	mirror := makeAnyhow(t, func(ctx context.Context) (jetstream.KeyValue, error) {
		return js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "copy", Mirror: &jetstream.StreamSource{Name: "tools"}})
	})
	w, err := source.KV(js, mirror.Bucket())
	must(t, err)
	if got := listed(t, w); got != "source: bucket copy: it is a mirror: use the bucket that it mirrors" {
		t.Error(got)
	}
	if w, err = source.KV(js, "tools", source.Every(100*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	put(t, kv, "a", "")
	if got := listed(t, w); got != "a" {
		t.Error(got)
	}
	x := watch(t, w)
	s, err := js.Stream(t.Context(), "KV_tools")
	must(t, err)
	must(t, s.Purge(t.Context())) // no watch hears of it
	x.becomes("")
	put(t, kv, "b", "")
	x.becomes("b")
}

// A listing asks again only for a stream that has changed.
func TestUnchangedIsNotRead(t *testing.T) {
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	kv := makeBucket(t, js, jetstream.KeyValueConfig{Bucket: "tools"})
	var reads atomic.Int64
	sub, err := js.Conn().Subscribe("$JS.API.STREAM.MSG.GET.KV_tools", func(*nats.Msg) { reads.Add(1) })
	must(t, err, js.Conn().Flush())
	w, err := source.KV(js, "tools")
	must(t, err)
	for n, want := range []int64{0, 1, 1, 2} {
		if n%2 == 1 {
			put(t, kv, "a", fmt.Sprint(n))
		}
		listed(t, w)
		must(t, js.Conn().Flush())
		for late := time.Now().Add(patience); reads.Load() < want && time.Now().Before(late); {
			must(t, js.Conn().Flush())
		}
		if got := reads.Load(); got != want {
			t.Errorf("%d reads, want %d", got, want)
		}
	}
	must(t, sub.Unsubscribe())
}

// With the server that has the watch gone, the list follows all the same.
func TestKVOutlivesAServer(t *testing.T) {
	c := natstest.StartCluster(t, 3)
	js := natstest.JetStream(t, c.Connect(t, 0, natskv.ConnectOptions()...))
	kv := makeBucket(t, js, jetstream.KeyValueConfig{Bucket: "tools", Replicas: 3})
	put(t, kv, "a", "")
	w, err := source.KV(js, "tools", source.Every(500*time.Millisecond))
	must(t, err)
	x := watch(t, w)
	if got := listed(t, w); got != "a" {
		t.Error(got)
	}
	s, err := js.Stream(t.Context(), "KV_tools")
	must(t, err)
	for i, ns := range c.Nodes {
		if ns.Name() == s.CachedInfo().Cluster.Leader {
			natstest.Stop(c.Nodes[i])
		}
	}
	makeAnyhow(t, func(ctx context.Context) (uint64, error) { return kv.PutString(ctx, "b", "") })
	x.becomes("a b")
}

func TestSubjects(t *testing.T) {
	everywhere(t, func(t *testing.T, js jetstream.JetStream, replicas int) {
		w, err := source.Subjects(js, "ORDERS", "orders.{partition}.>", source.Every(100*time.Millisecond))
		must(t, err)
		heavy, err := source.Subjects(js, "ORDERS", "orders.*.{partition}", source.WeighMessages())
		must(t, err)
		whole, err := source.Subjects(js, "ORDERS", "orders.>", source.WholeSubject())
		must(t, err)
		if got := listed(t, w); got != "source: subjects of stream ORDERS: stream ORDERS is not there: make it first, or see whether the name is right: stream not found" {
			t.Error(got)
		}
		s := makeStream(t, js, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>", "bills.*"}, Replicas: replicas})
		if got := listed(t, w); got != "" {
			t.Error(got)
		}
		x := watch(t, w)
		for range 3 {
			publish(t, js, "orders.eu.new")
		}
		publish(t, js, "orders.us.new")
		publish(t, js, "orders.us.old")
		publish(t, js, "orders.us")
		publish(t, js, "bills.cn")
		x.becomes("eu us")
		if got := listed(t, heavy); got != "new:4 old:1" {
			t.Error(got)
		}
		if got := listed(t, whole); got != "orders.eu.new orders.us orders.us.new orders.us.old" {
			t.Error(got)
		}
		must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("orders.us.>")))
		x.becomes("eu")
		long := "orders." + strings.Repeat("x", 201) + ".new"
		publish(t, js, long)
		x.becomes(fmt.Sprintf(`source: subjects of stream ORDERS: subject %q: partition %q is 201 bytes long: keep IDs to 200 bytes`, long, strings.Repeat("x", 201)))
		must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject(long)))
		x.becomes("eu")
	})
}

func TestSubjectsOfTheWrongStream(t *testing.T) {
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	makeStream(t, js, jetstream.StreamConfig{Name: "Q", Subjects: []string{"q.>"}, Retention: jetstream.WorkQueuePolicy})
	makeStream(t, js, jetstream.StreamConfig{Name: "L", Subjects: []string{"l.>", "m.*"}})
	makeStream(t, js, jetstream.StreamConfig{Name: "M", Mirror: &jetstream.StreamSource{Name: "L"}})
	makeStream(t, js, jetstream.StreamConfig{
		Name: "T", Subjects: []string{"t.*"},
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "t.*", Destination: "t.{{wildcard(1)}}.{{partition(4,1)}}"},
	})
	for _, c := range []struct{ stream, template, want string }{
		{"T", "t.{partition}.*", ""},
		{"T", "x.{partition}", "source: subjects of stream T: it has no subjects like x.*, but t.*, t.*.*: use a template for these, or give it those"},
		{"Q", "q.{partition}", "source: subjects of stream Q: its retention is workqueue, so that a partition would end when it has been consumed: use a stream with limits retention, or another source"},
		{"L", "x.{partition}", "source: subjects of stream L: it has no subjects like x.*, but l.>, m.*: use a template for these, or give it those"},
		{"L", "m.{partition}.x", "source: subjects of stream L: it has no subjects like m.*.x, but l.>, m.*: use a template for these, or give it those"},
		{"L", "m.{partition}", ""},
		{"M", "m.{partition}", ""},
	} {
		w, err := source.Subjects(js, c.stream, c.template)
		must(t, err)
		if got := listed(t, w); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// manySubjects counts the rounds of TestManySubjects.
var manySubjects int

// More subjects than a server says in one answer.
func TestManySubjects(t *testing.T) {
	if manySubjects++; testing.Short() && manySubjects%5 != 1 {
		t.Skip("one round of five is enough")
	}
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	stream := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, Storage: jetstream.MemoryStorage})
	const n = server.JSMaxSubjectDetails + 1500
	for i := range n {
		must(t, js.Conn().Publish(fmt.Sprintf("s.%06d", i), nil))
	}
	makeAnyhow(t, func(ctx context.Context) (*jetstream.StreamInfo, error) { // the stream lags behind the connection
		info, err := stream.Info(ctx)
		if err == nil && info.State.Msgs < n {
			err = fmt.Errorf("%d messages", info.State.Msgs)
		}
		return info, err
	})
	w, err := source.Subjects(js, "S", "s.{partition}")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience) // with the race detector each page takes seconds
	defer cancel()
	all, err := w.ListPartitions(ctx)
	must(t, err)
	if len(all) != n || all[0].ID != "000000" || all[n-1].ID != fmt.Sprintf("%06d", n-1) {
		t.Errorf("%d partitions", len(all))
	}
}

// pretend answers requests about a stream as a server does whose subjects change
// between two pages.
func pretend(t *testing.T, nc *nats.Conn, pages ...[]string) jetstream.JetStream {
	t.Helper()
	n := 0
	sub, err := nc.Subscribe("PRETEND.STREAM.INFO.S", func(m *nats.Msg) {
		var request struct {
			Filter string `json:"subjects_filter"`
			Offset int    `json:"offset"`
		}
		if err := json.Unmarshal(m.Data, &request); err != nil {
			t.Error(err)
		}
		answer := map[string]any{"config": map[string]any{"subjects": []string{"s.*"}}}
		if request.Filter != "" {
			if n == len(pages) {
				t.Errorf("asked for page %d", n)
				must(t, m.Respond([]byte(`{"error": {"description": "enough"}}`)))
				return
			}
			all := pages[n]
			n++
			page := map[string]int{}
			for i := request.Offset; i < min(request.Offset+10, len(all)); i++ {
				page["s."+all[i]] = 1
			}
			answer["state"] = map[string]any{"subjects": page}
			answer["total"] = len(all)
		}
		data, err := json.Marshal(answer)
		if err != nil {
			t.Error(err)
		}
		must(t, m.Respond(data))
	})
	must(t, err, nc.Flush())
	t.Cleanup(func() { must(t, sub.Unsubscribe()) })
	js, err := jetstream.NewWithAPIPrefix(nc, "PRETEND")
	must(t, err)
	return js
}

// A subject that is removed while pages are read must not hide another.
func TestSubjectsThatComeAndGo(t *testing.T) {
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns)
	ids := func(from, to int) (all []string) {
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf("%02d", i))
		}
		return all
	}
	list := func(t *testing.T, pages ...[]string) string {
		t.Helper()
		w, err := source.Subjects(pretend(t, nc, pages...), "S", "s.{partition}")
		must(t, err)
		return listed(t, w)
	}
	words := func(ids []string) string { return strings.Join(ids, " ") }
	t.Run("nothing changes", func(t *testing.T) {
		if got := list(t, ids(0, 14), ids(0, 14)); got != words(ids(0, 14)) {
			t.Error(got)
		}
	})
	t.Run("one goes", func(t *testing.T) { // within what pages have in common; it was there a moment ago
		if got := list(t, ids(0, 14), ids(1, 14)); got != words(ids(0, 14)) {
			t.Error(got)
		}
	})
	t.Run("one comes", func(t *testing.T) {
		if got := list(t, ids(1, 14), ids(0, 14)); got != words(ids(1, 14)) {
			t.Error(got)
		}
	})
	t.Run("many go", func(t *testing.T) { // 10 would be hidden: all is read again
		if got := list(t, ids(0, 25), ids(6, 25), ids(6, 25), ids(6, 25), ids(6, 25)); got != words(ids(6, 25)) {
			t.Error(got)
		}
	})
	t.Run("most go", func(t *testing.T) {
		if got := list(t, ids(0, 25), ids(22, 25), ids(22, 25)); got != words(ids(22, 25)) {
			t.Error(got)
		}
	})
	t.Run("they keep going", func(t *testing.T) {
		want := "source: subjects of stream S: subjects are removed faster than they can be listed; list them again"
		if got := list(t, ids(0, 25), ids(6, 25), ids(6, 25), ids(12, 25), ids(0, 25), ids(6, 25)); got != want {
			t.Error(got)
		}
	})
}

// A stream that has lost its quorum is answered for by a server that may lag: what it does not
// list is not gone.
func TestSubjectsWithoutALeader(t *testing.T) {
	nc := natstest.Connect(t, natstest.Start(t))
	var leader atomic.Value
	leader.Store("n1")
	sub, err := nc.Subscribe("PRETEND.STREAM.INFO.S", func(m *nats.Msg) {
		subjects, last := `{"s.a": 1, "s.b": 1}`, 2
		if leader.Load() == "" {
			subjects, last = `{"s.a": 1}`, 1
		}
		must(t, m.Respond(fmt.Appendf(nil, `{"config": {"subjects": ["s.*"]}, "state": {"last_seq": %d, "subjects": %s}, "cluster": {"name": "c", "leader": %q}, "total": 2}`, last, subjects, leader.Load())))
	})
	must(t, err, nc.Flush())
	t.Cleanup(func() { must(t, sub.Unsubscribe()) })
	js, err := jetstream.NewWithAPIPrefix(nc, "PRETEND")
	must(t, err)
	w, err := source.Subjects(js, "S", "s.{partition}")
	must(t, err)
	if got := listed(t, w); got != "a b" {
		t.Error(got)
	}
	leader.Store("")
	if got := listed(t, w); !strings.HasPrefix(got, "source: subjects of stream S: stream S has no leader") {
		t.Error(got)
	}
	leader.Store("n2")
	if got := listed(t, w); got != "a b" {
		t.Error(got)
	}
}

// A server says of a key that it cannot read that it has no value, and goes on listing it.
// Its partition is not gone.
func TestKVThatCannotBeRead(t *testing.T) {
	nc := natstest.Connect(t, natstest.Start(t))
	var gone atomic.Bool // b was removed after it was listed
	answer := func(op string, f func(request map[string]string) string) {
		t.Helper()
		sub, err := nc.Subscribe("PRETEND."+op+".KV_tools", func(m *nats.Msg) {
			var request map[string]string
			must(t, json.Unmarshal(m.Data, &request))
			must(t, m.Respond([]byte(f(request))))
		})
		must(t, err, nc.Flush())
		t.Cleanup(func() { must(t, sub.Unsubscribe()) })
	}
	answer("STREAM.INFO", func(request map[string]string) string {
		switch filter := request["subjects_filter"]; {
		case filter == "$KV.tools.>":
			return `{"state": {"subjects": {"$KV.tools.a": 1, "$KV.tools.b": 1}}, "total": 2}`
		case filter == "$KV.tools.b" && !gone.Load():
			return `{"state": {"subjects": {"$KV.tools.b": 1}}, "total": 1}`
		}
		return `{"state": {"messages": 2}}`
	})
	answer("STREAM.MSG.GET", func(request map[string]string) string {
		if request["last_by_subj"] == "$KV.tools.b" {
			return `{"error": {"code": 404, "err_code": 10037, "description": "no message found"}}`
		}
		return `{"message": {}}`
	})
	js, err := jetstream.NewWithAPIPrefix(nc, "PRETEND")
	must(t, err)
	w, err := source.KV(js, "tools")
	must(t, err)
	for range 2 { // what failed is not kept
		if got, want := listed(t, w), `source: bucket tools: key "b": the server lists it and cannot read it: see its log`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	gone.Store(true)
	if got := listed(t, w); got != "a" {
		t.Error(got)
	}
}

// What the user may not do is named.
func TestDenied(t *testing.T) {
	t.Parallel() // it waits for an answer that does not come
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "p"},
			{Username: "user", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.INFO.>"}}}},
		}
	})
	makeBucket(t, jetStream(t, natstest.Connect(t, ns, nats.UserInfo("admin", "p"))), jetstream.KeyValueConfig{Bucket: "tools"})
	w, err := source.KV(jetStream(t, natstest.Connect(t, ns, nats.UserInfo("user", "p"))), "tools")
	must(t, err)
	if _, err := w.ListPartitions(t.Context()); err == nil || !strings.Contains(err.Error(), "source: bucket tools: no answer within 5s (has the stream a leader, and has the user the permission to publish to $JS.API.STREAM.INFO.KV_tools?)") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := w.ListPartitions(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}
}

// A watch that cannot be made, or whose connection ends, says so; nothing is left of it.
func TestKVWatchEnds(t *testing.T) {
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns)
	js := jetStream(t, nc)
	w, err := source.KV(js, "tools")
	must(t, err)
	if err := w.Watch(t.Context(), func() {}); err == nil || !strings.Contains(err.Error(), "source: bucket tools: listen for changes:") {
		t.Error(err)
	}
	kv := makeBucket(t, js, jetstream.KeyValueConfig{Bucket: "tools"})
	put(t, kv, "a", "")
	if got := listed(t, w); got != "a" {
		t.Error(got)
	}
	ended := make(chan error, 1)
	changed := make(chan struct{}, 100)
	go func() { ended <- w.Watch(t.Context(), func() { changed <- struct{}{} }) }()
	put(t, kv, "b", "")
	select {
	case <-changed:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("not told")
	}
	nc.Close()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "source: bucket tools: listen for changes: ") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the watch goes on")
	}
	if slices.Contains([]string{"a", "a b"}, listed(t, w)) {
		t.Error("listed without a connection")
	}
}
