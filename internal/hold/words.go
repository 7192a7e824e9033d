package hold

var (
	stateWords    = [...]string{Waiting: "Waiting", Stable: "Stable", Isolated: "Isolated", Draining: "Draining", FencedOff: "FencedOff"}
	causeWords    = [...]string{Revoked: "revoked", Fenced: "fenced", Stopped: "stopped"}
	howWords      = [...]string{Returned: "returned", Failed: "failed", Done: "done", Rejected: "rejected", gaveUp: "gave-up"}
	standingWords = [...]string{Gone: "gone", Own: "own", OwnOlder: "own-older", Tombstone: "tombstone", Foreign: "foreign"}
	phaseWords    = [...]string{Queued: "queued", Starting: "starting", Running: "running", Ending: "ending", Ended: "ended"}
	alertWords    = [...]string{AlertDegraded: "degraded", AlertStuck: "stuck", AlertUnstarted: "unstarted"}
	levelWords    = [...]string{LevelInfo: "info", LevelWarn: "warn", LevelError: "error", LevelCritical: "critical"}
)

// String is the word for s.
func (s State) String() string { return stateWords[s] }

// String is the word for c.
func (c Cause) String() string { return causeWords[c] }

// String is the word for h.
func (h How) String() string { return howWords[h] }

// String is the word for s.
func (s Standing) String() string { return standingWords[s] }

// String is the word for p.
func (p Phase) String() string { return phaseWords[p] }

// String is the word for k.
func (k AlertKind) String() string { return alertWords[k] }

// String is the word for l.
func (l Level) String() string { return levelWords[l] }
