package admin

import "testing"

func TestNilOptions(t *testing.T) {
	g := Open(nil, nil, WithWho("ada"), WithStrategy(nil))
	if g.strategy == nil || g.who != "ada" {
		t.Errorf("%+v", g)
	}
}
