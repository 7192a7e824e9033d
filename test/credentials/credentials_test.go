// Package credentials_test runs a fleet whose credentials expire.
package credentials_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what goes wrong here does so on purpose
	natstest.Register()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

const (
	patience   = 3 * time.Minute
	partitions = 12
	soon       = 5 * time.Second // credentials expire; this counts whole seconds
)

// An issuer is a server that trusts an operator, and the keys of one account of it.
type issuer struct {
	t       *testing.T
	ns      *server.Server
	account nkeys.KeyPair
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	is := &issuer{t: t}
	operator := pair(t, nkeys.CreateOperator)
	is.account = pair(t, nkeys.CreateAccount)
	oc := jwt.NewOperatorClaims(public(t, operator))
	text := encode(t, oc, operator)
	trusted, err := jwt.DecodeOperatorClaims(text)
	must(t, err)
	ac := jwt.NewAccountClaims(public(t, is.account))
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	system := public(t, pair(t, nkeys.CreateAccount))
	resolver := &server.MemAccResolver{}
	must(t, resolver.Store(public(t, is.account), encode(t, ac, operator)))
	must(t, resolver.Store(system, encode(t, jwt.NewAccountClaims(system), operator)))
	is.ns = natstest.Start(t, func(o *server.Options) {
		o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{trusted}, resolver, system
	})
	return is
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	kp, err := create()
	must(t, err)
	return kp
}

func public(t *testing.T, kp nkeys.KeyPair) string {
	t.Helper()
	key, err := kp.PublicKey()
	must(t, err)
	return key
}

func encode(t *testing.T, c jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	text, err := c.Encode(by)
	must(t, err)
	return text
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A worker is one of the fleet. Who issues its credentials may be late.
type worker struct {
	mgr *parti.Manager
	nc  *nats.Conn

	mu   sync.Mutex
	late bool   // it is given what it had before
	had  string // the last credentials
}

func (w *worker) isLate(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = yes
}

func (is *issuer) worker(name string, l *partitest.Ledger, valid time.Duration) *worker {
	t := is.t
	t.Helper()
	w := &worker{}
	user := pair(t, nkeys.CreateUser)
	key := public(t, user)
	give := func() (string, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.late {
			return w.had, nil
		}
		c := jwt.NewUserClaims(key)
		c.Expires = time.Now().Add(valid).Unix()
		text, err := c.Encode(is.account)
		w.had = text
		return text, err
	}
	w.nc = natstest.Connect(t, is.ns, append(natskv.ConnectOptions(), nats.UserJWT(give, user.Sign))...)
	js, err := jetstream.New(w.nc)
	must(t, err)
	store, err := natskv.Open(t.Context(), js, "g", natskv.WithMemory())
	must(t, err)
	t.Cleanup(store.Close)
	var all []parti.Partition
	for i := range partitions {
		all = append(all, parti.Partition{ID: fmt.Sprintf("p-%02d", i)})
	}
	run := parti.HandlerFunc(func(ctx context.Context, _ parti.Lease) error {
		<-ctx.Done()
		return nil
	})
	w.mgr, err = parti.NewManager(store, source.Static(all...), l.Watch(name, run), parti.Config{
		Identity: name, ExpectedWorkers: workers, EmergencyGrace: 15 * time.Second, LostAfter: 20 * time.Second, // a machine may be busy when they come back
	})
	must(t, err)
	l.Follow(name, w.mgr)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.mgr.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

const workers = 3

// fleet starts workers that have settled, whose credentials are valid for so long each.
func (is *issuer) fleet(l *partitest.Ledger, valid ...time.Duration) (all []*worker) {
	is.t.Helper()
	for i, d := range valid {
		all = append(all, is.worker(fmt.Sprint("w", i), l, d))
	}
	var starting sync.WaitGroup
	for _, w := range all {
		starting.Go(func() {
			if err := w.mgr.Start(is.t.Context()); err != nil {
				is.t.Error(err)
			}
		})
	}
	starting.Wait()
	is.even(l, "all of it runs")
	return all
}

// eventually waits for what no entry of the ledger tells.
func (is *issuer) eventually(what string, cond func() bool) {
	is.t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for !cond() {
		select {
		case <-again.C:
		case <-late:
			is.t.Fatalf("%s did not happen", what)
		}
	}
}

func (is *issuer) even(l *partitest.Ledger, what string) {
	is.t.Helper()
	l.Await(what, patience, func() bool {
		n := 0
		for _, share := range l.Shares() {
			if share != partitions/workers {
				return false
			}
			n += share
		}
		return n == partitions
	})
}

// Credentials that are renewed in time: the server ends the connection each time that they
// expire, the client comes back with new ones, and nobody notices.
func TestCredentialsThatAreRenewed(t *testing.T) {
	is := newIssuer(t)
	l := partitest.NewLedger(t)
	all := is.fleet(l, soon, soon, soon)
	starts := l.Report().Starts
	is.eventually("each has come back three times", func() bool {
		return !slices.ContainsFunc(all, func(w *worker) bool { return w.nc.Stats().Reconnects < 3 })
	})
	is.even(l, "all of it runs still")
	if n := l.Report().Starts - starts; n > 0 {
		t.Errorf("%d handlers were started anew", n)
	}
	l.Check(parti.Freeze)
}

// Credentials that come late: the worker is out for longer than a client would try by
// itself, and comes back by itself.
func TestCredentialsThatComeLate(t *testing.T) {
	is := newIssuer(t)
	l := partitest.NewLedger(t)
	w := is.fleet(l, time.Hour, soon, time.Hour)[1]
	before := w.nc.Stats().Reconnects
	w.isLate(true)
	is.eventually("it is without a connection", func() bool { return !w.nc.IsConnected() })
	is.eventually("it says so", func() bool { return w.mgr.State() == parti.StateDegraded })
	others := func() bool { // what it had is run by others, under a larger token
		owned := 0
		for name, n := range l.Shares() {
			if name != "w1" {
				owned += n
			}
		}
		return owned == partitions
	}
	l.Await("the others run all of it", patience, others)
	w.isLate(false)
	is.eventually("it has come back", func() bool { return w.nc.Stats().Reconnects > before })
	is.even(l, "it has its part again")
	if w.nc.IsClosed() || !w.mgr.Status().Live() {
		t.Error("it has given up")
	}
}
