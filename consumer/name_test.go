package consumer

import (
	"strings"
	"testing"

	"github.com/parti-go/parti/plan"
)

func TestConsumerName(t *testing.T) {
	for _, c := range []struct{ group, partition, want string }{
		{"g", "tool-7", "g~tool-7"},
		{"g", "eu.orders", "g~eu=2Eorders"},
		{"a", "b-c", "a~b-c"},
		{"a-b", "c", "a-b~c"},
		{"g", "=2E", "g~=3D2E"},
		{"g", "a~b", "g~a=7Eb"},
	} {
		if got, err := consumerName(c.group, c.partition); got != c.want || err != nil {
			t.Errorf("%s, %s: %s, %v", c.group, c.partition, got, err)
		}
	}
	if _, err := consumerName("g", strings.Repeat(".", 90)); err == nil || !strings.Contains(err.Error(), "272 bytes") {
		t.Errorf("a name that is too long: %v", err)
	}
}

// Two partitions never share a consumer, and a name has nothing that the server refuses.
func FuzzConsumerName(f *testing.F) {
	f.Add("a.b", "a=2Eb")
	f.Add("a", "A")
	f.Fuzz(func(t *testing.T, a, b string) {
		if plan.ValidID(a) != nil || plan.ValidID(b) != nil {
			return
		}
		x, errX := consumerName("g", a)
		y, errY := consumerName("g", b)
		if errX != nil || errY != nil {
			return
		}
		if (a == b) != (x == y) || strings.ContainsAny(x, " .*>/\\\t\r\n\f") {
			t.Errorf("%q: %q, %q: %q", a, x, b, y)
		}
	})
}
