package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// at is a moment as records keep it.
var at = time.Date(2026, 3, 14, 15, 9, 26, 535897932, time.UTC)

// samples are one record of each kind with no field left out, under its key.
var samples = map[Key]any{
	{Session, "worker-7"}: roster.Session{
		Worker: "worker-7", Nonce: "q5c1f0", Identity: "host-3", Host: "host-3", Software: "1.4.0", Started: at, Schema: 1,
		TTL: 15000, Margin: 1875, Fenced: true, Owns: true, Prepares: true, Share: 2, Capacity: 500, Zone: "b",
		Labels: map[string]string{"rack": "12"}, Applied: plan.MakeVersion(1040832, 17),
		Draining: []plan.Lease{{Partition: "tool-001.chamber-1", Token: plan.MakeVersion(1040832, 9)}},
		Done:     []plan.Lease{{Partition: "tool-002.chamber-1", Token: plan.MakeVersion(1040832, 10)}},
		Rejected: []plan.Lease{{Partition: "tool-003.chamber-1", Token: plan.MakeVersion(1040832, 11)}},
		GivenUp:  []plan.Lease{{Partition: "tool-005.chamber-1", Token: plan.MakeVersion(1040832, 12)}},
		Highest:  plan.MakeVersion(1040832, 18), Past: 1040831, Previous: roster.Previous{Nonce: "a81xx2", End: roster.EndTombstone},
		Resumed: true,
		Holds: []plan.Grant{{
			Partition: plan.Partition{ID: "tool-004.chamber-1", Weight: 3, Labels: map[string]string{"line": "4"}},
			Token:     plan.MakeVersion(1040831, 4), Why: plan.WhyJoined, Crashed: []string{"worker-2"},
		}},
		Leaving: true, Left: true, Running: 12,
		Tombstone: &roster.Tombstone{By: "worker-1", Term: 6, Why: "no responders for 1.1s"},
	},
	{Chain, "m4k0ss"}: plan.MakeVersion(1040832, 17),
	{Leader, ""}:      elect.Leader{Worker: "worker-1", Nonce: "m4k0ss"},
	{Plan, ""}: plan.Head{
		Version: plan.MakeVersion(1040832, 17), Term: 6, Leader: "worker-1", Session: "m4k0ss", Phase: plan.Rebalancing, Why: plan.WhyLost,
		Partitions: 1024, Unassigned: 2, Releasing: 5, Workers: 12, Slices: 12, Changed: []string{"worker-3", "worker-7"}, Started: true, Adopting: true,
	},
	{Slice, "worker-7"}: plan.Slice{
		Worker: "worker-7", Session: "q5c1f0", TTL: 15000, Fenced: true, Version: plan.MakeVersion(1040832, 17),
		Granted: []plan.Grant{{
			Partition: plan.Partition{ID: "tool-001.chamber-2", Weight: 2, Labels: map[string]string{"line": "1"}},
			Token:     plan.MakeVersion(1040832, 3), Why: plan.WhyFirstPlan, Crashed: []string{"worker-2"},
		}},
		Releasing: []plan.Release{{
			Partition: plan.Partition{ID: "tool-001.chamber-3", Weight: 1, Labels: map[string]string{"line": "1"}},
			Token:     plan.MakeVersion(1040832, 3), Since: plan.MakeVersion(1040832, 17), Next: "worker-8", Why: plan.WhyDrain, Crashed: []string{"worker-2"},
		}},
		Coming: []plan.Partition{{ID: "tool-001.chamber-4", Weight: 1, Labels: map[string]string{"line": "1"}}},
	},
	{Aside, ""}: []plan.Aside{{
		Partition: "tool-009.chamber-1", Why: plan.WhyQuarantine, Times: 2, Owners: []string{"worker-1", "worker-2", "worker-3"}, For: 120000, Software: []string{"1.4.0"},
	}},
	LogKey(plan.MakeVersion(1040832, 17)): plan.Decision{
		Version: plan.MakeVersion(1040832, 17), Term: 6, Leader: "worker-1", At: at, Why: plan.WhyLost, About: "worker-3: no responders for 1.1s",
		Moves: []plan.Move{{Partition: "tool-001.chamber-2", Step: plan.Granted, From: "worker-3", To: "worker-7", Why: plan.WhyLost}},
		More:  40, Strategy: &plan.Explanation{
			Moved: 1, MovedWeight: 2, Placed: 3, PlacedWeight: 6, Forced: 1, ForcedWeight: 2, Unplaced: 2, BoundMoves: 4, BoundWeight: 5, PeakBefore: 1400, PeakAfter: 1010, BoundPeak: 1000,
			Transfers: []plan.Transfer{{Partition: "tool-001.chamber-2", From: "worker-1", To: "worker-7", Why: plan.WhyOverload, Weight: 2, FromBefore: 1400, FromAfter: 1010, ToBefore: 700, ToAfter: 990}},
			Left:      []plan.LeftOut{{Partition: "tool-002.chamber-1", Weight: 90, Obstacle: plan.NoRoom}},
		},
		Workers: 12, Partitions: 1024, Unassigned: 2, Waited: 1100,
	},
	{Control, "pin.tool-001.chamber-1"}: plan.Control{
		Kind: plan.Pin, Worker: "worker-7", Partition: "tool-001.chamber-1", Who: "ops@example.com", When: at, Why: "the cache is there", Until: at.Add(time.Hour), Number: "r7",
		Session: "K2", Token: plan.MakeVersion(1040832, 17),
	},
}

func goldenFile(k Key) string { return filepath.Join("testdata", string(k.Kind)+".golden.json") }

// What is in a store must be readable for as long as somebody has one: a change
// of these files is a change of the schema, unless it only adds an optional field.
func TestGolden(t *testing.T) {
	for key, want := range samples {
		t.Run(string(key.Kind), func(t *testing.T) {
			full(t, string(key.Kind), reflect.ValueOf(want))
			data, err := Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, data, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			if *rewrite {
				if err := os.WriteFile(goldenFile(key), pretty.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(goldenFile(key))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(golden, pretty.Bytes()) {
				t.Errorf("is written as\n%s\nwant\n%s\n(-rewrite if the change is meant)", pretty.Bytes(), golden)
			}
			got := reflect.New(reflect.TypeOf(want))
			if err := Decode(key.String(), golden, got.Interface()); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Elem().Interface(), want) {
				t.Errorf("is read as\n%+v\nwant\n%+v", got.Elem(), want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.golden.json")
	if err != nil || len(files) != len(samples) {
		t.Errorf("%d golden files for %d kinds, %v", len(files), len(samples), err)
	}
	if len(samples) != len(kinds) {
		t.Errorf("%d samples for %d kinds", len(samples), len(kinds))
	}
}

// full says which field of a sample is zero: a new one belongs into the golden file.
func full(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	if v.IsZero() {
		t.Errorf("%s is not in the sample", path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		full(t, path, v.Elem())
	case reflect.Slice:
		full(t, path+"[0]", v.Index(0))
	case reflect.Struct:
		if _, ok := reflect.TypeAssert[time.Time](v); ok {
			return
		}
		for i := range v.NumField() {
			full(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	default:
	}
}

func TestKeys(t *testing.T) {
	for want, k := range map[string]Key{
		"session.worker-7":               {Session, "worker-7"},
		"leader":                         {Leader, ""},
		"plan":                           {Plan, ""},
		"slice.worker-7":                 {Slice, "worker-7"},
		"aside":                          {Aside, ""},
		"control.pause":                  {Control, "pause"},
		"control.pin.tool-001.chamber-1": {Control, "pin.tool-001.chamber-1"},
		"control.pin.a=20b=3dc=2a":       {Control, "pin.a b=c*"},
		"control.pin.=c3=a4":             {Control, "pin.ä"},
		"control.a.=2eb=2e":              {Control, "a..b."},
		"control.=2e":                    {Control, "."},
		"log.00000004464968712945":       {Log, "00000004464968712945"},
	} {
		if got := k.String(); got != want {
			t.Errorf("%#v is %s, want %s", k, got, want)
		}
		if err := kv.CheckKey(k.String()); err != nil {
			t.Error(err)
		}
		got, err := ParseKey(want)
		if err != nil || got != k {
			t.Errorf("%s is %#v, %v; want %#v", want, got, err, k)
		}
		if !kv.Match(k.Kind.Prefix(), want) {
			t.Errorf("%s is not found under %s", want, k.Kind.Prefix())
		}
	}
	for _, s := range []string{"", "plan.x", "leader.", "session", "session.", "sessions.a", "session.a b", "session.=41", "control.=zz", "control.=4", "control.=3D", "control.a..b", "foo.bar"} {
		if k, err := ParseKey(s); err == nil {
			t.Errorf("%q is %#v", s, k)
		}
	}
}

func TestLogKeys(t *testing.T) {
	last := ""
	for _, v := range []plan.Version{0, 1, 9, 10, plan.MakeVersion(1, 0), plan.MakeVersion(1040832, 17), 1<<64 - 1} {
		k := LogKey(v)
		if k.String() <= last {
			t.Errorf("%s is not after %s", k, last)
		}
		last = k.String()
		if got, err := k.Version(); err != nil || got != v {
			t.Errorf("%s is of %v, %v; want %v", k, got, err, v)
		}
	}
	for _, k := range []Key{{Log, "7"}, {Log, "x"}, {Slice, LogKey(7).Name}} {
		if v, err := k.Version(); err == nil {
			t.Errorf("%s is of %v", k, v)
		}
	}
}

func TestNewerSchema(t *testing.T) {
	var h plan.Head
	err := Decode("plan", []byte(`{"schema":7,"record":[1,2,3],"extra":{}}`), &h)
	var e *SchemaError
	if !errors.As(err, &e) || *e != (SchemaError{Key: "plan", Have: 7, Max: Schema}) {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"plan", "7", "1", "upgrade"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestNewerFieldsAreIgnored(t *testing.T) {
	var h plan.Head
	err := Decode("plan", []byte(`{"schema":1,"by":"a newer release","record":{"term":6,"mood":"good","version":"17"}}`), &h)
	if err != nil || h.Term != 6 || h.Version != 17 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestUnreadable(t *testing.T) {
	good, err := Encode(plan.Head{Term: 6})
	if err != nil {
		t.Fatal(err)
	}
	large, err := Encode(slice(1000))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"nothing":          nil,
		"no JSON":          []byte("hello"),
		"no object":        []byte(`[1]`),
		"null":             []byte(`null`),
		"no schema":        []byte(`{"record":{}}`),
		"schema 0":         []byte(`{"schema":0,"record":{}}`),
		"schema in words":  []byte(`{"schema":"one","record":{}}`),
		"no record":        []byte(`{"schema":1}`),
		"record null":      []byte(`{"schema":1,"record":null}`),
		"another type":     []byte(`{"schema":1,"record":{"term":"six"}}`),
		"schema twice":     []byte(`{"schema":1,"schema":2,"record":{}}`),
		"record twice":     []byte(`{"schema":1,"record":{},"record":{}}`),
		"garbage after":    append(bytes.Clone(good), "}"...),
		"two records":      append(bytes.Clone(good), good...),
		"truncated":        good[:len(good)-1],
		"truncated, large": large[:len(large)/2],
		"only the magic":   zstdMagic,
		"a bomb":           codec.pack(make([]byte, maxSize+1)),
	} {
		t.Run(name, func(t *testing.T) {
			var h plan.Head
			err := Decode("plan", data, &h)
			var e *UnreadableError
			if !errors.As(err, &e) || e.Key != "plan" || e.Err == nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// slice is a slice of n partitions, as they are in a fleet.
func slice(n int) plan.Slice {
	s := plan.Slice{Worker: "worker-7", Session: "q5c1f0", TTL: 15000, Version: plan.MakeVersion(1040832, 17)}
	for i := range n {
		s.Granted = append(s.Granted, plan.Grant{
			Partition: plan.Partition{ID: fmt.Sprintf("tool-%03d.chamber-%d", i/4, i%4), Weight: int64(1 + i%7)},
			Token:     plan.MakeVersion(1040832, uint32(1+i%17)), Why: plan.WhyJoined,
		})
	}
	return s
}

func TestCompression(t *testing.T) {
	for _, n := range []int{0, 10, 100, 1000, 10_000} {
		want := slice(n)
		data, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if packed := data[0] != '{'; packed != (len(plain) > threshold) {
			t.Errorf("%d partitions, %d bytes: compressed %v", n, len(plain), packed)
		}
		t.Logf("%d partitions: %d bytes of JSON, %d in the store", n, len(plain), len(data))
		var got plan.Slice
		if err := Decode("slice.worker-7", data, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d partitions: %v", n, err)
		}
	}
}

// The compressor is shared by bubbles and what is outside of them.
func TestInBubbles(t *testing.T) {
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			data, err := Encode(slice(1000))
			if err != nil {
				t.Fatal(err)
			}
			if err := Decode("slice.worker-7", data, new(plan.Slice)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Whatever is read can be written and read again, and is the same.
func FuzzDecode(f *testing.F) {
	for key := range samples {
		golden, err := os.ReadFile(goldenFile(key))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(golden)
	}
	for _, n := range []int{0, 100} {
		data, err := Encode(slice(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"schema":2,"record":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []func() any{
			func() any { return new(roster.Session) },
			func() any { return new(plan.Slice) },
			func() any { return new(plan.Head) },
			func() any { return new(plan.Decision) },
			func() any { return new(plan.Control) },
			func() any { return new([]plan.Aside) },
			func() any { return new(elect.Leader) },
			func() any { return new(plan.Version) },
		} {
			v := into()
			err := Decode("key", data, v)
			if err != nil {
				var newer *SchemaError
				var unreadable *UnreadableError
				if !errors.As(err, &newer) && !errors.As(err, &unreadable) {
					t.Fatalf("%T: %v", err, err)
				}
				continue
			}
			again, err := Encode(v)
			if err != nil {
				t.Fatalf("%+v was read and cannot be written: %v", v, err)
			}
			w := into()
			if err := Decode("key", again, w); err != nil {
				t.Fatalf("%s cannot be read again: %v", again, err)
			}
			third, err := Encode(w)
			if err != nil || !bytes.Equal(again, third) {
				t.Fatalf("%s\nis not\n%s", again, third)
			}
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for key := range samples {
		f.Add(key.String())
	}
	f.Add("control.pin.=c3=a4")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			return
		}
		if k.String() != s {
			t.Fatalf("%q is %#v is %q", s, k, k.String())
		}
		if err := kv.CheckKey(s); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkSession(b *testing.B) {
	s := samples[Key{Session, "worker-7"}]
	data, err := Encode(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Encode(s)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var s roster.Session
			_ = Decode("session.worker-7", data, &s)
		}
	})
}
