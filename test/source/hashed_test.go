// Package source_test holds sources to what servers do.
package source_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	natstest.Register()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// PartitionOf is what a server's subject mapping does.
func TestPartitionOfIsTheServers(t *testing.T) {
	ns := natstest.Start(t)
	for from, to := range map[string]string{
		"one.*":   "p.{{partition(13,1)}}.{{wildcard(1)}}",
		"two.*.*": "p.{{partition(64,2,1)}}.{{wildcard(1)}}.{{wildcard(2)}}",
	} {
		if err := ns.GlobalAccount().AddMapping(from, to); err != nil {
			t.Fatal(err)
		}
	}
	nc := natstest.Connect(t, ns)
	sub, err := nc.SubscribeSync("p.>")
	if err != nil {
		t.Fatal(err)
	}
	for n := range 300 {
		a, b := fmt.Sprintf("customer-%d", n*n), fmt.Sprintf("ordre-é%x", n)
		for subject, want := range map[string]string{
			"one." + a:           fmt.Sprintf("p.%d.%s", source.PartitionOf(13, a), a),
			"two." + a + "." + b: fmt.Sprintf("p.%d.%s.%s", source.PartitionOf(64, b, a), a, b),
		} {
			if err := nc.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
			m, err := sub.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject != want || strings.Count(m.Subject, ".") < 2 {
				t.Fatalf("%s became %s, want %s", subject, m.Subject, want)
			}
		}
	}
}
