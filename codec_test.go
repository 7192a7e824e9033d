package parti

import (
	"testing"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

func TestKeysComeBack(t *testing.T) {
	for kind := range member.Kind(len(kinds)) {
		key := member.Key{Kind: kind}
		if kinds[kind].Prefix() != string(kinds[kind]) {
			key.Name = "17"
		}
		text := keyOf(key)
		if back, ok := parseKey(text); !ok || back != key {
			t.Errorf("%v is %q, and comes back as %v", key, text, back)
		}
		if all := prefixOf(member.Follow{Kind: kind}); !kv.Match(all, text) {
			t.Errorf("%q does not stand for %q", all, text)
		}
		if one := prefixOf(member.Follow{Kind: kind, Name: key.Name}); one != text && key.Name != "" {
			t.Errorf("%q is followed as %q", text, one)
		}
	}
	if _, ok := parseKey("somebody.elses"); ok {
		t.Error("a foreign key was read")
	}
}

func TestWhatCannotBeReadIsNotEmpty(t *testing.T) {
	for kind := range member.Kind(len(kinds)) {
		key := member.Key{Kind: kind, Name: "x"}
		if r := decode(key, kv.Entry{Key: "x", Value: []byte("{"), Rev: 3}); r.Unreadable == nil || r.Value != nil || r.Gone || r.Rev != 3 {
			t.Errorf("%v: %+v", key, r)
		}
		if r := decode(key, kv.Entry{Key: "x", Gone: true, Rev: 4}); r.Unreadable != nil || !r.Gone || r.Rev != 4 {
			t.Errorf("%v: %+v", key, r)
		}
	}
	head := plan.Head{Version: 7, Term: 3}
	w, err := encode(member.Put{Record: member.Record{Key: member.Key{Kind: member.KindPlan}, Rev: 9, Value: head}})
	if err != nil || w.Key != "plan" || w.Last != 9 {
		t.Fatal(w, err)
	}
	if r := decode(member.Key{Kind: member.KindPlan}, kv.Entry{Key: w.Key, Value: w.Value}); r.Value.(plan.Head).Term != 3 {
		t.Errorf("%+v", r)
	}
}
