package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/measure"
	"github.com/parti-go/parti/natskv"
)

// A bench is one run of the command bench.
type bench struct {
	target

	g          *global
	workers    int
	partitions int
	rounds     int
	replicas   int
	memory     bool
	yes        bool

	denied bool // the bucket could not be made: there is none to remove
}

// What bench accepts.
const (
	leastBenchWorkers, mostBenchWorkers = 3, 100
	mostBenchPartitions                 = 10_000
	mostBenchRounds                     = 50
)

// What it may take.
const (
	benchPatience = 2 * time.Minute
	roundPatience = time.Minute
)

func newBench(s *Streams, g *global) *cobra.Command {
	b := &bench{g: g}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a fleet is on your NATS",
		Long: `Run a fleet in this process over your NATS, in a group of its own, and measure what users of a
fleet wait for: a cold start, and the gap in which nobody runs a partition when a worker joins, stops
or is lost, and nobody leads when the leader stops. The group's bucket is removed at the end.

The workers have their usual settings, but for windows in which they would wait for more to happen.
A lost worker is one whose connection has ended; the time until that is noticed is part of it. Off a
terminal the columns are: name, how many were measured, median, 99th of a hundred, and longest, all
three in milliseconds, and what.`,
		Example: `  parti bench --context staging
  parti bench --workers 30 --partitions 1500 --replicas 3 --yes --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.check(); err != nil {
				return err
			}
			if !cmd.Flags().Changed("timeout") {
				b.timeout = benchPatience + time.Duration(b.rounds)*roundPatience
			}
			ctx, stop := clearing(cmd.Context())
			defer stop()
			ctx, same, stop := s.heard(ctx)
			defer stop()
			b.streams = same
			return unread(ctx, "the measurement was stopped", b.run(ctx))
		},
	}
	f := cmd.Flags()
	b.streams = s
	b.connection.flags(f)
	f.DurationVar(&b.timeout, "timeout", 0, fmt.Sprintf("give up after this `time`, with exit code 5; 0: no limit (default: %v, and %v for each round)", benchPatience, roundPatience))
	f.IntVar(&b.workers, "workers", 8, fmt.Sprintf("how many workers, %d to %d", leastBenchWorkers, mostBenchWorkers))
	f.IntVar(&b.partitions, "partitions", 400, fmt.Sprintf("how many partitions, twice the workers to %d", mostBenchPartitions))
	f.IntVar(&b.rounds, "rounds", 3, fmt.Sprintf("how often a worker joins, stops, is lost, 1 to %d", mostBenchRounds))
	f.IntVar(&b.replicas, "replicas", 0, "replicas of the bucket: 1, 3 or 5 (default: 3 on a cluster, 1 on a single server)")
	f.BoolVar(&b.memory, "memory", false, "keep the bucket in the servers' memory")
	f.BoolVarP(&b.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (b *bench) check() error {
	const try = "parti bench --help"
	switch {
	case b.workers < leastBenchWorkers || b.workers > mostBenchWorkers:
		return usage(fmt.Errorf("--workers %d: it is %d to %d", b.workers, leastBenchWorkers, mostBenchWorkers), try)
	case b.partitions < 2*b.workers || b.partitions > mostBenchPartitions:
		return usage(fmt.Errorf("--partitions %d: it is %d to %d, so that each of %d workers has some", b.partitions, 2*b.workers, mostBenchPartitions, b.workers), try)
	case b.rounds < 1 || b.rounds > mostBenchRounds:
		return usage(fmt.Errorf("--rounds %d: it is 1 to %d", b.rounds, mostBenchRounds), try)
	case !slices.Contains([]int{0, 1, 3, 5}, b.replicas):
		return usage(fmt.Errorf("--replicas %d: it is 1, 3 or 5", b.replicas), try)
	case !b.yes && !b.streams.askable():
		return usage(errNobody, "parti bench --yes")
	}
	return nil
}

// A figure is one line of what was measured.
type figure struct {
	Name string  `json:"name"`
	What string  `json:"what"`
	N    int     `json:"n"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

func newFigure(name, what string, all measure.Times) figure {
	ms := func(q float64) float64 { return float64(all.At(q).Microseconds()) / 1000 }
	return figure{Name: name, What: what, N: len(all), P50: ms(0.5), P99: ms(0.99), Max: ms(1)}
}

// measured is all of it.
type measured struct {
	Schema     int      `json:"schema"`
	Server     string   `json:"server"` // its version
	Workers    int      `json:"workers"`
	Partitions int      `json:"partitions"`
	Replicas   int      `json:"replicas"`
	Storage    string   `json:"storage"`
	Figures    []figure `json:"figures"`
}

func (b *bench) run(ctx context.Context) error {
	s := b.streams
	nc, err := b.connect(ctx, s, append(natskv.ConnectOptions(), quiet, nats.RetryOnFailedConnect(false), nats.Timeout(connectTime))...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := b.jetstream(nc)
	if err != nil {
		return err
	}
	group := "bench-" + strings.ToLower(rand.Text()[:8])
	fmt.Fprintf(s.Err, "Run %s with %s on %s, in a group of their own, %s; its bucket is removed at the end.\n",
		show.Plural(b.workers, "worker"), show.Plural(b.partitions, "partition"), show.Redacted(nc.ConnectedUrl()), group)
	if !b.yes {
		if err := s.confirm(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	defer b.remove(js, group) //nolint:contextcheck // also after an interrupt
	m := measured{Schema: admin.Schema, Server: nc.ConnectedServerVersion(), Workers: b.workers, Partitions: b.partitions}
	store, err := natskv.Open(ctx, js, group, b.options()...)
	if err != nil {
		err := b.failed(group, err)
		if e := (*Error)(nil); errors.As(err, &e) && e.Code == Forbidden {
			e.Try, b.denied = "a user who may make streams and buckets", true
		}
		return err
	}
	defer store.Close()
	if err := m.describe(ctx, js, group); err != nil {
		return b.failed(group, err)
	}
	p := newProgress(s)
	defer p.end()
	if err := b.store(ctx, p, nc, store, &m); err != nil {
		return b.failed(group, err)
	}
	if err := b.fleet(ctx, p, group, &m); err != nil {
		return b.failed(group, err)
	}
	p.end()
	if b.g.json {
		return writeJSON(s.Out, m)
	}
	return writeLines(s.Out, m.lines(s.look(b.g)))
}

func (b *bench) options() []natskv.Option {
	opts := []natskv.Option{natskv.WithLogger(mute)}
	if b.replicas > 0 {
		opts = append(opts, natskv.WithReplicas(b.replicas))
	}
	if b.memory {
		opts = append(opts, natskv.WithMemory())
	}
	return opts
}

// bucketOf is the bucket of a group.
func bucketOf(group string) string { return "parti-" + group }

// remove clears away what was made, or says what is left behind.
func (b *bench) remove(js jetstream.JetStream, group string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := js.DeleteKeyValue(ctx, bucketOf(group))
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) && !b.denied {
		report(b.streams.Err, &Error{Code: Failed, What: "the bucket " + bucketOf(group) + " may be left behind", Why: err, Try: "nats kv del " + bucketOf(group)})
	}
}

func (m *measured) describe(ctx context.Context, js jetstream.JetStream, group string) error {
	stream, err := js.Stream(ctx, "KV_"+bucketOf(group))
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	m.Replicas, m.Storage = cfg.Replicas, strings.ToLower(cfg.Storage.String())
	return nil
}

// How often the server is asked, and the bucket written to.
const (
	roundTrips = 20
	writes     = 100
)

// store measures what everything else is made of.
func (b *bench) store(ctx context.Context, p *progress, nc *nats.Conn, store *natskv.Store, m *measured) error {
	p.show("the store")
	var rtt, written measure.Times
	for range roundTrips {
		d, err := nc.RTT()
		if err != nil {
			return err
		}
		rtt = append(rtt, d)
	}
	var last kv.Rev
	for range writes {
		began := time.Now()
		rev, err := store.Write(ctx, kv.Write{Key: "bench.write", Value: make([]byte, 256), Last: last})
		if err != nil {
			return err
		}
		last = rev
		written = append(written, time.Since(began))
	}
	m.Figures = append(m.Figures, newFigure("round-trip", "round trip to the server", rtt), newFigure("write", "conditional write of 256 bytes", written))
	return nil
}

// fleet measures what a fleet does.
func (b *bench) fleet(ctx context.Context, p *progress, group string, m *measured) error {
	o := measure.Options{
		Group: group, Store: b.options(),
		Connect: func(ctx context.Context, _ int) (jetstream.JetStream, error) {
			nc, err := b.connect(ctx, b.streams, append(natskv.ConnectOptions(), quiet, nats.RetryOnFailedConnect(false), nats.Timeout(connectTime))...)
			if err != nil {
				return nil, err
			}
			js, err := b.jetstream(nc)
			if err != nil {
				nc.Close()
			}
			return js, err
		},
		Config: parti.Config{ExpectedWorkers: b.workers, SettleTime: time.Second / 2, ScaleWindow: time.Second, Cooldown: -1},
	}
	for i := range b.partitions {
		o.Partitions = append(o.Partitions, parti.Partition{ID: fmt.Sprintf("p-%05d", i)})
	}
	f := measure.New(o)
	defer f.Close()
	for range b.workers {
		if _, err := f.Add(ctx); err != nil {
			return err
		}
	}
	p.show("a cold start")
	c, err := f.Cold(ctx)
	if err != nil {
		return err
	}
	cold := measure.Times{c.After}
	if err := f.AwaitSettled(ctx); err != nil {
		return err
	}
	gaps := func(c measure.Change) measure.Times { return c.Gaps }
	after := func(c measure.Change) measure.Times { return measure.Times{c.After} }
	steps := []struct {
		name, what string
		do         func(context.Context) (measure.Change, error)
		of         func(measure.Change) measure.Times
		all        measure.Times
	}{
		{name: "join", what: "worker joins: gap of a partition that moves", do: f.Join, of: gaps},
		{name: "stop", what: "worker stops: gap of each of its partitions", do: f.Leave, of: gaps},
		{name: "loss", what: "worker lost: gap of each of its partitions", do: f.Lose, of: gaps},
		{name: "leader", what: "leader stops: until another leads", do: f.Succeed, of: after},
	}
	for round := range b.rounds {
		for i := range steps {
			step := &steps[i]
			p.show(fmt.Sprintf("round %d of %d: %s", round+1, b.rounds, strings.Split(step.what, ":")[0]))
			c, err := step.do(ctx)
			if err != nil {
				return err
			}
			step.all = append(step.all, step.of(c)...)
			if step.name == "loss" || step.name == "leader" { // as many as before
				if c, err = f.Join(ctx); err != nil {
					return err
				}
				steps[0].all = append(steps[0].all, gaps(c)...)
			}
		}
	}
	m.Figures = append(m.Figures, newFigure("cold-start", "cold start: until all partitions run", cold))
	for _, step := range steps {
		m.Figures = append(m.Figures, newFigure(step.name, step.what, step.all))
	}
	return nil
}

// lines are the screen of bench.
func (m *measured) lines(look show.Look) []string {
	t := show.Table{Columns: []show.Column{
		{Name: "NAME", For: show.Programs},
		{Name: "WHAT", For: show.People, Gives: true, Key: true},
		{Name: "TIMES", Right: true},
		{Name: "MEDIAN", Right: true},
		{Name: "99 %", Right: true},
		{Name: "LONGEST", Right: true},
		{Name: "WHAT", For: show.Programs},
	}}
	for _, x := range m.Figures {
		t.Row(show.Text(x.Name), show.Text(x.What), show.Count(x.N), exactly(x.P50), exactly(x.P99), exactly(x.Max), show.Text(x.What))
	}
	if look.Plain {
		return t.Lines(look)
	}
	head := fmt.Sprintf("%s share %s: NATS %s, %s, in %s", show.Plural(m.Workers, "worker"), show.Plural(m.Partitions, "partition"),
		m.Server, show.Plural(m.Replicas, "replica"), m.Storage)
	return append([]string{look.Cut(head, look.Width), ""}, t.Lines(look)...)
}

// exactly is a cell of so many milliseconds.
func exactly(ms float64) show.Cell {
	plain := strconv.FormatFloat(ms, 'f', 3, 64)
	switch {
	case ms < 10:
		return show.Both(fmt.Sprintf("%.1f ms", ms), plain)
	case ms < 1000:
		return show.Both(fmt.Sprintf("%.0f ms", ms), plain)
	default:
		return show.Both(fmt.Sprintf("%.2f s", ms/1000), plain)
	}
}
