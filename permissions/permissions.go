// Package permissions says what a user of NATS must be allowed to do, and no more.
//
// The subjects are those that package natskv and package consumer use; a test runs a fleet
// on a server that allows nothing else, and checks that all of them are needed.
package permissions

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Role is what a user does.
type Role string

// The roles. Any worker may come to lead, so there is no role for the leader.
const (
	// Worker runs partitions. It makes nothing that stays: see consumer.WithoutCreate.
	Worker Role = "worker"
	// Provisioner makes the group's bucket, the consumers and the bucket of cursors, makes
	// the group's bucket anew when it was lost, has its stream led by another server when a
	// write hangs there, mends its settings, and removes leftovers:
	// see consumer.ProvisionOnly. A worker that has both roles needs nobody to provide for it.
	Provisioner Role = "provisioner"
	// Observer reads the group's bucket, follows it, and asks workers about themselves: all
	// of package admin that changes nothing. It opens the bucket with natskv.WithoutBarrier.
	Observer Role = "observer"
	// Operator does what an observer does, and steers: the rest of package admin. Who may
	// write any key of a bucket could do more than that with a client of its own: empty the
	// bucket, which a group survives, or name a leader that is none, which it does not notice
	// before that key is removed again. So an operator is somebody who is trusted.
	Operator Role = "operator"
)

// Roles are all of them.
func Roles() []Role { return []Role{Worker, Provisioner, Observer, Operator} }

// Use is what the fleet uses.
type Use struct {
	Group string // as in natskv.Open

	Stream       string // that is consumed; empty: none
	Consumers    string // the group of consumer.NewDurable or NewCursor; empty: Group
	Cursors      bool   // NewCursor rather than NewDurable
	CursorBucket string // of NewCursor; empty: its default
	DeadLetter   string // a subject; empty: none

	InboxPrefix string // of the connection; empty: _INBOX
}

// A Set are the permissions of one user. Both lists are sorted. Its JSON is that of a
// nats-server's configuration of permissions.
type Set struct {
	Publish   Allow `json:"publish"`
	Subscribe Allow `json:"subscribe"`
	// Responses: it may answer to what it was asked.
	Responses bool `json:"allow_responses,omitempty"`
}

// Allow is a list of subjects.
type Allow struct {
	Allow []string `json:"allow"`
}

var (
	name   = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	stream = regexp.MustCompile(`^[^\s.*>/\\]+$`)
)

func (u Use) check() error {
	switch {
	case !name.MatchString(u.Group):
		return fmt.Errorf("permissions: group %q: a name is letters, digits, - and _", u.Group)
	case u.Stream != "" && !stream.MatchString(u.Stream):
		return fmt.Errorf("permissions: stream %q: a name has no space, dot, * or >", u.Stream)
	case u.Consumers != "" && !name.MatchString(u.Consumers):
		return fmt.Errorf("permissions: consumers %q: a group's name is letters, digits, - and _", u.Consumers)
	case u.CursorBucket != "" && !name.MatchString(u.CursorBucket):
		return fmt.Errorf("permissions: bucket %q: a name is letters, digits, - and _", u.CursorBucket)
	case strings.ContainsAny(u.DeadLetter, " *>\t"):
		return fmt.Errorf("permissions: dead letters %q: a subject without wildcards", u.DeadLetter)
	case strings.ContainsAny(u.InboxPrefix, " *>\t"):
		return fmt.Errorf("permissions: inbox prefix %q: a subject without wildcards", u.InboxPrefix)
	case u.Stream == "" && (u.Cursors || u.DeadLetter != "" || u.Consumers != "" || u.CursorBucket != ""):
		return errors.New("permissions: cursors, consumers and dead letters are of a stream: name it")
	case !u.Cursors && u.CursorBucket != "":
		return errors.New("permissions: a bucket of cursors is for cursors: say that they are used")
	}
	return nil
}

// For is what a user in these roles must be allowed. It fails when a name in u cannot be one,
// when what u says does not go together, and when there is no role or an unknown one.
func For(u Use, roles ...Role) (Set, error) {
	if err := u.check(); err != nil {
		return Set{}, err
	}
	if len(roles) == 0 {
		return Set{}, errors.New("permissions: no role is given: worker, provisioner, observer or operator")
	}
	if u.Consumers == "" {
		u.Consumers = u.Group
	}
	if u.CursorBucket == "" {
		u.CursorBucket = u.Consumers + "-cursors"
	}
	if u.InboxPrefix == "" {
		u.InboxPrefix = "_INBOX"
	}
	var s Set
	s.subscribe(strings.TrimSuffix(u.InboxPrefix, ".") + ".>")
	for _, r := range roles {
		switch r {
		case Worker:
			s.worker(u)
		case Provisioner:
			s.provisioner(u)
		case Observer:
			s.observer(u)
		case Operator:
			s.operator(u)
		default:
			return Set{}, fmt.Errorf("permissions: role %q: it is worker, provisioner, observer or operator", r)
		}
	}
	for _, a := range []*Allow{&s.Publish, &s.Subscribe} {
		slices.Sort(a.Allow)
		a.Allow = slices.Compact(a.Allow)
	}
	return s, nil
}

func (s *Set) publish(subjects ...string) { s.Publish.Allow = append(s.Publish.Allow, subjects...) }

func (s *Set) subscribe(subjects ...string) {
	s.Subscribe.Allow = append(s.Subscribe.Allow, subjects...)
}

func (s *Set) observer(u Use) {
	bucket := "KV_parti-" + u.Group
	s.publish("$JS.API.STREAM.INFO."+bucket, "$JS.API.STREAM.MSG.GET."+bucket, "$PARTI."+u.Group+".probe.about.*")
	s.subscribe("$PARTI." + u.Group + ".kv.>")
}

func (s *Set) operator(u Use) {
	s.observer(u)
	s.publish("$KV.parti-"+u.Group+".control.>", "$KV.parti-"+u.Group+".leader")
}

func (s *Set) worker(u Use) {
	bucket := "KV_parti-" + u.Group
	s.publish("$JS.API.STREAM.INFO."+bucket, "$JS.API.STREAM.MSG.GET."+bucket)
	s.publish("$KV.parti-"+u.Group+".>", "$PARTI."+u.Group+".probe.>")
	s.subscribe("$PARTI."+u.Group+".kv.>", "$PARTI."+u.Group+".probe.>")
	s.Responses = true // to probes
	switch {
	case u.Stream == "":
		return
	case u.Cursors:
		bucket := "KV_" + u.CursorBucket
		s.publish(
			"$JS.API.STREAM.INFO."+bucket, "$JS.API.STREAM.MSG.GET."+bucket, "$KV."+u.CursorBucket+".>",
			"$JS.API.STREAM.INFO."+u.Stream, "$JS.API.CONSUMER.CREATE."+u.Stream+".>",
			"$JS.API.CONSUMER.MSG.NEXT."+u.Stream+".*", "$JS.API.CONSUMER.DELETE."+u.Stream+".*")
	default:
		s.publish(
			"$JS.API.STREAM.INFO."+u.Stream, "$JS.API.STREAM.MSG.GET."+u.Stream,
			"$JS.API.CONSUMER.INFO."+u.Stream+".*", "$JS.API.CONSUMER.MSG.NEXT."+u.Stream+".*",
			"$JS.ACK."+u.Stream+".>", "$JS.ACK.*.*."+u.Stream+".>") // the second is of servers to come
	}
	if u.DeadLetter != "" {
		s.publish("$JS.API.STREAM.NAMES", u.DeadLetter)
	}
}

func (s *Set) provisioner(u Use) {
	bucket := "KV_parti-" + u.Group
	s.publish("$JS.API.INFO")
	for _, what := range []string{"INFO", "CREATE", "UPDATE", "PURGE", "LEADER.STEPDOWN"} {
		s.publish("$JS.API.STREAM." + what + "." + bucket)
	}
	switch {
	case u.Stream == "":
		return
	case u.Cursors:
		s.publish("$JS.API.STREAM.INFO.KV_"+u.CursorBucket, "$JS.API.STREAM.CREATE.KV_"+u.CursorBucket)
	}
	s.publish("$JS.API.STREAM.INFO." + u.Stream)
	if !u.Cursors {
		s.publish("$JS.API.STREAM.MSG.GET." + u.Stream)
		for _, what := range []string{"NAMES", "LIST"} {
			s.publish("$JS.API.CONSUMER." + what + "." + u.Stream)
		}
		for _, what := range []string{"INFO", "DELETE"} {
			s.publish("$JS.API.CONSUMER." + what + "." + u.Stream + ".*")
		}
		s.publish("$JS.API.CONSUMER.CREATE." + u.Stream + ".>")
	}
	if u.DeadLetter != "" {
		s.publish("$JS.API.STREAM.NAMES")
	}
}
