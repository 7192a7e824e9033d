package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

func TestPace(t *testing.T) {
	owned := func(at time.Duration, version uint32, tokens ...uint32) admin.Snapshot {
		s := admin.Snapshot{At: noon.Add(at), Version: atVersion(version)}
		for i, token := range tokens {
			if token > 0 {
				s.Partitions = append(s.Partitions, admin.Partition{ID: string(rune('a' + i)), State: admin.Owned, Token: atVersion(token)})
			}
		}
		return s
	}
	p := &pace{}
	p.take(owned(0, 1, 1, 1, 1, 1))
	if p.granted+p.released+p.plans != 0 {
		t.Errorf("at first: %+v", p)
	}
	p.take(owned(time.Second, 2, 1, 1, 0, 0))   // two are let go
	p.take(owned(2*time.Second, 3, 1, 3, 3, 3)) // and three granted
	if p.granted != 1.5 || p.released != 1 || p.plans != 1 {
		t.Errorf("%v granted, %v released, %v plans", p.granted, p.released, p.plans)
	}
	p.take(owned(10*time.Second, 3, 1, 3, 3, 3))
	p.take(owned(11*time.Second, 3, 1, 3, 3, 3))
	if p.granted+p.released+p.plans != 0 || len(p.past) != 3 {
		t.Errorf("what is past is past: %+v", p)
	}
	for what, version := range map[string]plan.Version{"lost": 0, "made anew": plan.MakeVersion(atVersion(3).Incarnation()+1, 1)} {
		p := &pace{}
		p.take(owned(0, 3))
		now := owned(time.Second, 3)
		now.Version = version
		if p.take(now); p.plans != 0 {
			t.Errorf("the bucket is %s: %v plans", what, p.plans)
		}
	}
}

// Off a terminal a line is written when there is something new to say; that no answer
// came is talk.
func TestTeller(t *testing.T) {
	var out, talk bytes.Buffer
	l := &teller{streams: &Streams{Out: &out, Err: &talk}}
	for _, sentence := range []string{"Moving 2 of 9 (3 s).", "Moving 1 of 9 (4 s).", "Settled.", "Settled."} {
		if err := l.take(admin.Snapshot{At: noon, Sentence: sentence}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		_ = l.take(admin.Snapshot{}, errors.New("away"))
	}
	_ = l.take(admin.Snapshot{At: noon, Sentence: "Settled."}, nil)
	if got := out.String(); got != "2026-03-04T12:00:00Z\tMoving 2 of 9 (3 s).\n2026-03-04T12:00:00Z\tSettled.\n2026-03-04T12:00:00Z\tSettled.\n" {
		t.Error(got)
	}
	if got := talk.String(); strings.Count(got, "no answer: away") != 1 {
		t.Error(got)
	}
}

func TestSinceWhen(t *testing.T) {
	for text, want := range map[string]time.Time{
		"": {}, "1h": noon.Add(-time.Hour), "2026-03-04T10:00:00Z": noon.Add(-2 * time.Hour), "2026-03-04": time.Date(2026, 3, 4, 0, 0, 0, 0, show.Zone),
	} {
		if got, err := sinceWhen(text, noon); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1h", "yesterday"} {
		if got, err := sinceWhen(text, noon); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestReadWeights(t *testing.T) {
	read := func(text string) (map[string]int64, error) {
		return readWeights(&Streams{In: strings.NewReader(text)}, "-")
	}
	for _, text := range []string{"p-0 5\np-1\t7 # heavy\n\n", `{"p-0": 5, "p-1": 7}`} {
		if got, err := read(text); err != nil || len(got) != 2 || got["p-0"] != 5 || got["p-1"] != 7 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := read("room#1 5 #2\n# all\n"); err != nil || len(got) != 1 || got["room#1"] != 5 {
		t.Errorf("an ID with a #: %v, %v", got, err)
	}
	for text, says := range map[string]string{
		"": "there is no weight in it", "p-0": "line 1: it has 1 words", "p-0 5\np-1 x": `line 2: the weight is "x"`, `{"p-0": "x"}`: "cannot unmarshal",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
