package parti

import (
	"maps"
	"time"
)

// Config is what a worker is and how patient it is. It is plain data: its zero
// value is a good default for every field, and libraries that know [time.Duration] and
// the field tags load it from YAML ("session_ttl: 15s"), such as go.yaml.in/yaml, or from
// the environment (SESSION_TTL=15s, after a prefix of your own), such as
// github.com/caarlos0/env.
//
// The workers of a group may differ in all of it, also while a change is being rolled
// out. The leader's values are in force of LostAfter, EmergencyGrace, RecoveryGrace,
// SettleTime, ColdStartWindow, ScaleWindow, ExpectedWorkers, Cooldown, RestartGrace and
// RefreshInterval, and since any worker may lead, all should have the same; so they should of
// HeartbeatInterval, since the leader holds everybody to its own. Everything else is each
// worker's own.
//
// Durations must be at least a millisecond where they are not zero, and at most 720 h.
type Config struct {
	// WorkerIDPrefix is the first part of worker IDs: "worker" gives worker-0,
	// worker-1 and so on. Default "worker"; letters, digits, "-" and "_", at most 64.
	WorkerIDPrefix string `yaml:"worker_id_prefix" env:"WORKER_ID_PREFIX"`

	// MaxWorkers is how many worker IDs there are to claim. One worker more waits as
	// a spare, in state ClaimingID. Default 256; 1 to 65536.
	MaxWorkers int `yaml:"max_workers" env:"MAX_WORKERS"`

	// Identity is who this worker is across restarts, such as the name of a pod of a
	// stateful set: with it a worker gets the ID back that it had before. When set,
	// another live process under the same identity is not displaced: the second one
	// ends with [ErrIdentityInUse], unless both start at the same moment. Default empty:
	// the host's name, and where another live worker of the group has it, just a free ID.
	// At most 200 bytes, printable.
	Identity string `yaml:"identity" env:"IDENTITY"`

	// Software is the version of the program, for people, and to try partitions again
	// whose handlers crashed under another one. Default: the main module's version,
	// or the commit it was built from. At most 200 bytes, printable.
	Software string `yaml:"software" env:"SOFTWARE"`

	// Share is this worker's part of the load relative to the others'. Default 1;
	// 1 to 1000000.
	Share int64 `yaml:"share" env:"SHARE"`

	// Capacity is the most weight that this worker may be given. Default 0: no limit.
	Capacity int64 `yaml:"capacity" env:"CAPACITY"`

	// Zone is where this worker runs, for strategies that spread. Default empty:
	// nowhere in particular. At most 200 bytes, printable.
	Zone string `yaml:"zone" env:"ZONE"`

	// Labels are your own words about this worker, for strategies and for people.
	// Default none. At most 32, keys and values of at most 200 printable bytes.
	Labels map[string]string `yaml:"labels" env:"LABELS"`

	// HeartbeatInterval is how often the session is renewed; each renewal is one
	// small write. The leader gives nothing new to whoever has not renewed for more than
	// three of its own. Default 1 s; 50 ms to a third of SessionTTL.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval" env:"HEARTBEAT_INTERVAL"`

	// SessionTTL is how long a session lasts without renewal. Under Fence a silent
	// worker is lost after it. SessionTTL − FenceMargin − 2·HeartbeatInterval should
	// stay above the store's own failover (up to 10 s on three nodes), or a group
	// under Fence stops whenever a node of the store dies; a warning says so.
	// Default 15 s; whole seconds, 2 s to 10 min, and above FenceMargin and two
	// HeartbeatIntervals.
	SessionTTL time.Duration `yaml:"session_ttl" env:"SESSION_TTL"`

	// LostAfter is for how long a worker under Freeze may neither renew its session nor
	// answer a probe, while the store is provably healthy, before it is lost; counted
	// anew after any gap of the store. One that answers but does not renew has its
	// SessionTTL, and one whose connection is gone only EmergencyGrace. Default 6 s, or
	// three heartbeats if that is more; at least three heartbeats.
	LostAfter time.Duration `yaml:"lost_after" env:"LOST_AFTER"`

	// LeaderTTL is how long the leader's key lasts without renewal. Default 12 s, or
	// three heartbeats if that is more; whole seconds, at least 2 s and three heartbeats.
	LeaderTTL time.Duration `yaml:"leader_ttl" env:"LEADER_TTL"`

	// ProbeInterval is how often the leader asks every worker whether it is there, and the
	// others together ask the leader a few times. A probe is a message that is stored nowhere.
	// Default 500 ms; at least 50 ms.
	ProbeInterval time.Duration `yaml:"probe_interval" env:"PROBE_INTERVAL"`

	// ReconcileInterval is how often a worker reads the plan, and its own part of it,
	// where the truth is, in case it was not told of a change. Default 5 s; at least 100 ms.
	ReconcileInterval time.Duration `yaml:"reconcile_interval" env:"RECONCILE_INTERVAL"`

	// FenceMargin is how much earlier than SessionTTL a worker stops trusting its own
	// session. It covers errors in clock rates and the time that handlers need after
	// Hard. Default SessionTTL / 8; at least 10 ms, at most half of SessionTTL.
	FenceMargin time.Duration `yaml:"fence_margin" env:"FENCE_MARGIN"`

	// SettleTime closes a window early: once nobody has joined for this long.
	// Default 2 s.
	SettleTime time.Duration `yaml:"settle_time" env:"SETTLE_TIME"`

	// ColdStartWindow is the longest that a group's first plan waits for more
	// workers. Default 30 s, or SettleTime if that is more; at least SettleTime.
	ColdStartWindow time.Duration `yaml:"cold_start_window" env:"COLD_START_WINDOW"`

	// ScaleWindow is the longest that a plan waits for more changes of a kind that is
	// not urgent: workers that joined, partitions, weights. Default 10 s, or
	// SettleTime if that is more; at least SettleTime.
	ScaleWindow time.Duration `yaml:"scale_window" env:"SCALE_WINDOW"`

	// ExpectedWorkers lets a cold start go at once when so many workers are there.
	// Default 0: unknown; at most MaxWorkers.
	ExpectedWorkers int `yaml:"expected_workers" env:"EXPECTED_WORKERS"`

	// Cooldown is the least time between two voluntary rebalances. Partitions
	// without an owner never wait for it. Default 10 s; negative: none.
	Cooldown time.Duration `yaml:"cooldown" env:"COOLDOWN"`

	// EmergencyGrace is how long a worker whose connection is gone may take to come
	// back before it is lost, under Freeze. Default 1 s.
	EmergencyGrace time.Duration `yaml:"emergency_grace" env:"EMERGENCY_GRACE"`

	// StuckAfter is how long a handler may ignore Hard, or its Prepare may take before Run,
	// before an alert names it. Default 1 min.
	StuckAfter time.Duration `yaml:"stuck_after" env:"STUCK_AFTER"`

	// MaxFreeze is the longest that an isolated worker under Freeze goes on before it
	// fences after all, counted from the end of the trust in its session: contexts end then,
	// and Hard FenceMargin later. Default 0: no limit. Under Fence it must be 0; otherwise it
	// must be at least SessionTTL.
	MaxFreeze time.Duration `yaml:"max_freeze" env:"MAX_FREEZE"`

	// MovesInFlight is how many partitions this worker drains, and how many it
	// starts, at a time. A worker that stops drains all at once: each handler has
	// DrainTimeout. Default 16; 1 to 65536.
	MovesInFlight int `yaml:"moves_in_flight" env:"MOVES_IN_FLIGHT"`

	// RestartGrace is how long the partitions of a worker that stopped cleanly wait
	// for its successor under the same worker ID; nobody runs them meanwhile. With it a
	// rolling update moves nothing. Default 0: not at all, they move at once.
	RestartGrace time.Duration `yaml:"restart_grace" env:"RESTART_GRACE"`

	// DrainTimeout is how long a handler may take to return after its context has
	// ended, before its Hard context ends as well. Default 30 s.
	DrainTimeout time.Duration `yaml:"drain_timeout" env:"DRAIN_TIMEOUT"`

	// RecoveryGrace is how long a leader that was cut off itself does not take
	// silence for death. Default 15 s.
	RecoveryGrace time.Duration `yaml:"recovery_grace" env:"RECOVERY_GRACE"`

	// Isolation is what this worker does while it cannot reach the store: "freeze"
	// goes on, "fence" stops in time. Default freeze.
	Isolation Isolation `yaml:"isolation" env:"ISOLATION"`

	// Degraded says when this worker calls itself degraded. Each field has its own
	// default; [DegradedBalanced] is all of them.
	Degraded Degraded `yaml:"degraded" envPrefix:"DEGRADED_"`

	// Alerts says how an alert grows with the time in degraded mode. Each field has
	// its own default; [AlertsBalanced] is all of them.
	Alerts Alerts `yaml:"alerts" envPrefix:"ALERTS_"`

	// RefreshInterval is how often the leader lists the source again without being
	// asked. Default 0: never; otherwise at least 100 ms.
	RefreshInterval time.Duration `yaml:"refresh_interval" env:"REFRESH_INTERVAL"`
}

// Degraded says when a worker is degraded: once the store has not answered for
// EnterAfter, or gave ErrorThreshold errors within ErrorWindow; and, whatever these are, once
// the trust in its session has ended, SessionTTL − FenceMargin after the last renewal. It
// ends once the store has answered, without an error, for ExitAfter. Each time that it comes back
// within ErrorWindow, there must have been no such reason for twice as long as the time
// before, up to ErrorWindow.
type Degraded struct {
	// EnterAfter is the silence that is too long. Default 10 s, or three times
	// HeartbeatInterval or ReconcileInterval, whichever is less, if that is more; at least
	// three times it.
	EnterAfter time.Duration `yaml:"enter_after" env:"ENTER_AFTER"`
	// ExitAfter is how long all must have been well. Default 5 s.
	ExitAfter time.Duration `yaml:"exit_after" env:"EXIT_AFTER"`
	// ErrorThreshold is how many errors are too many. Default 5; 1 to 10000.
	ErrorThreshold int `yaml:"error_threshold" env:"ERROR_THRESHOLD"`
	// ErrorWindow is the time within which they count. Default 30 s.
	ErrorWindow time.Duration `yaml:"error_window" env:"ERROR_WINDOW"`
}

// Alerts says after how long in degraded mode an alert of which level is given,
// and how often it is repeated. Each level's time must be above the one before, defaults
// included: who sets Info to 3 min sets Warn as well.
type Alerts struct {
	Info     time.Duration `yaml:"info" env:"INFO"`         // default 30 s
	Warn     time.Duration `yaml:"warn" env:"WARN"`         // default 2 min
	Error    time.Duration `yaml:"error" env:"ERROR"`       // default 5 min
	Critical time.Duration `yaml:"critical" env:"CRITICAL"` // default 10 min
	// Interval is how often the highest level reached is repeated. Default 1 min; at
	// least 1 s.
	Interval time.Duration `yaml:"interval" env:"INTERVAL"`
}

// DegradedConservative calls a worker degraded late: for stores whose failover is
// slow, where being degraded now and then is no news.
func DegradedConservative() Degraded {
	return Degraded{
		EnterAfter:     30 * time.Second, // three failovers of a store of three nodes
		ExitAfter:      15 * time.Second, // one and a half
		ErrorThreshold: 15,               // a rolling restart of the store gives about ten
		ErrorWindow:    time.Minute,
	}
}

// DegradedBalanced is the default, as long as HeartbeatInterval or ReconcileInterval is at
// most a third of its EnterAfter. Beyond that the default grows with them, and this is
// refused.
func DegradedBalanced() Degraded {
	return Degraded{
		EnterAfter:     10 * time.Second, // the longest failover of a healthy store of three nodes
		ExitAfter:      5 * time.Second,  // five heartbeats in a row
		ErrorThreshold: 5,                // more than one lost connection gives
		ErrorWindow:    30 * time.Second,
	}
}

// DegradedAggressive calls a worker degraded early: for a store on one node or
// nearby, where any silence is a fault. It needs a HeartbeatInterval or a ReconcileInterval of
// at most a second, a third of its EnterAfter.
func DegradedAggressive() Degraded {
	return Degraded{
		EnterAfter:     3 * time.Second, // three heartbeats
		ExitAfter:      3 * time.Second,
		ErrorThreshold: 2, // one error may be chance
		ErrorWindow:    10 * time.Second,
	}
}

// AlertsConservative alerts late, and seldom again.
func AlertsConservative() Alerts {
	return Alerts{
		Info:     2 * time.Minute, // a restart of the store is over by then
		Warn:     10 * time.Minute,
		Error:    30 * time.Minute,
		Critical: 2 * time.Hour,
		Interval: 10 * time.Minute,
	}
}

// AlertsBalanced is the default.
func AlertsBalanced() Alerts {
	return Alerts{
		Info:     30 * time.Second, // a failover of the store is over by then
		Warn:     2 * time.Minute,
		Error:    5 * time.Minute,
		Critical: 10 * time.Minute,
		Interval: time.Minute,
	}
}

// AlertsAggressive alerts early, and often again.
func AlertsAggressive() Alerts {
	return Alerts{
		Info:     10 * time.Second, // as long again as it took DegradedBalanced to say so
		Warn:     30 * time.Second,
		Error:    time.Minute,
		Critical: 2 * time.Minute,
		Interval: 30 * time.Second,
	}
}

// withDefaults fills in what is zero. Derived defaults come after what they
// derive from.
func withDefaults(c Config) Config {
	def(&c.WorkerIDPrefix, "worker")
	def(&c.MaxWorkers, 256)
	def(&c.Software, software())
	def(&c.Share, 1)
	def(&c.HeartbeatInterval, time.Second)
	def(&c.SessionTTL, 15*time.Second)
	def(&c.LostAfter, max(6*time.Second, 3*c.HeartbeatInterval))
	def(&c.LeaderTTL, max(12*time.Second, wholeSeconds(3*c.HeartbeatInterval)))
	def(&c.ProbeInterval, 500*time.Millisecond)
	def(&c.ReconcileInterval, 5*time.Second)
	def(&c.FenceMargin, c.SessionTTL/8)
	def(&c.SettleTime, 2*time.Second)
	def(&c.ColdStartWindow, max(30*time.Second, c.SettleTime))
	def(&c.ScaleWindow, max(10*time.Second, c.SettleTime))
	def(&c.Cooldown, 10*time.Second)
	c.Cooldown = max(c.Cooldown, 0)
	def(&c.EmergencyGrace, time.Second)
	def(&c.StuckAfter, time.Minute)
	def(&c.MovesInFlight, 16)
	def(&c.DrainTimeout, 30*time.Second)
	def(&c.RecoveryGrace, 15*time.Second)

	d := DegradedBalanced()
	def(&c.Degraded.EnterAfter, max(d.EnterAfter, 3*c.answers()))
	def(&c.Degraded.ExitAfter, d.ExitAfter)
	def(&c.Degraded.ErrorThreshold, d.ErrorThreshold)
	def(&c.Degraded.ErrorWindow, d.ErrorWindow)

	a := AlertsBalanced()
	def(&c.Alerts.Info, a.Info)
	def(&c.Alerts.Warn, a.Warn)
	def(&c.Alerts.Error, a.Error)
	def(&c.Alerts.Critical, a.Critical)
	def(&c.Alerts.Interval, a.Interval)

	c.Labels = maps.Clone(c.Labels)
	return c
}

// answers is how often a healthy store answers this worker: renewals and looks.
func (c *Config) answers() time.Duration { return min(c.HeartbeatInterval, c.ReconcileInterval) }

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
