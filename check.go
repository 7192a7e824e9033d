package parti

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// storeFailover is how long a healthy store of three nodes may take to elect a new
// leader after it has lost one without warning.
const storeFailover = 10 * time.Second

const (
	maxText   = 200 // bytes of a text that goes into every renewal
	maxPrefix = 64
	maxLabels = 32
	maxIDs    = 1 << 16
	maxShare  = 1_000_000
	maxErrors = 10_000
)

// A checker collects mistakes.
type checker struct{ errs []error }

// must reports whether ok, for the rules that build on this one.
func (k *checker) must(ok bool, field string, value any, rule string, args ...any) bool {
	if !ok {
		k.errs = append(k.errs, &ConfigError{Field: field, Value: value, Rule: fmt.Sprintf(rule, args...)})
	}
	return ok
}

// longest is the longest that anything may take: sums of some of them are still
// durations, and what takes longer is a mistake in the unit.
const longest = 30 * 24 * time.Hour

// check says all that is wrong with a Config whose defaults are filled in.
func (c *Config) check() error {
	var k checker
	k.must(isName(c.WorkerIDPrefix), "WorkerIDPrefix", c.WorkerIDPrefix, `1 to %d letters, digits, "-" and "_"`, maxPrefix)
	idsOK := k.between("MaxWorkers", int64(c.MaxWorkers), 1, maxIDs)
	k.text("Identity", c.Identity)
	k.text("Software", c.Software)
	k.between("Share", c.Share, 1, maxShare)
	k.must(c.Capacity >= 0, "Capacity", c.Capacity, "0 for no limit, or more")
	k.text("Zone", c.Zone)
	k.labels(c.Labels)

	ttlOK := k.must(whole(c.SessionTTL) && c.SessionTTL >= 2*time.Second && c.SessionTTL <= 10*time.Minute,
		"SessionTTL", c.SessionTTL, "whole seconds from 2s to 10m")
	ttl := c.SessionTTL // what is below is held to some TTL, even to one that will not do
	if !ttlOK {
		ttl = longest
	}
	beatOK := k.must(c.HeartbeatInterval >= 50*time.Millisecond && c.HeartbeatInterval <= ttl/3,
		"HeartbeatInterval", c.HeartbeatInterval, "from 50ms to a third of SessionTTL (%v)", ttl/3)
	marginOK := !ttlOK && c.FenceMargin >= 0 || // its default is a part of the TTL
		k.must(c.FenceMargin >= 10*time.Millisecond && c.FenceMargin <= ttl/2,
			"FenceMargin", c.FenceMargin, "from 10ms to half of SessionTTL (%v)", ttl/2)
	if ttlOK && beatOK && marginOK {
		k.must(c.slack() > 0, "SessionTTL", c.SessionTTL,
			"above FenceMargin and two HeartbeatIntervals (%v), or one late renewal ends the trust in it", c.FenceMargin+2*c.HeartbeatInterval)
	}
	beats := 3 * c.HeartbeatInterval
	if !beatOK {
		beats = 150 * time.Millisecond
	}
	k.must(c.LostAfter >= beats, "LostAfter", c.LostAfter, "at least three times HeartbeatInterval (%v)", beats)
	k.must(whole(c.LeaderTTL) && c.LeaderTTL >= max(2*time.Second, beats),
		"LeaderTTL", c.LeaderTTL, "whole seconds, at least 2s and three times HeartbeatInterval (%v)", beats)
	k.least("ProbeInterval", c.ProbeInterval, 50*time.Millisecond)
	looksOK := k.least("ReconcileInterval", c.ReconcileInterval, 100*time.Millisecond)

	k.least("SettleTime", c.SettleTime, time.Millisecond)
	k.must(c.ColdStartWindow >= c.SettleTime, "ColdStartWindow", c.ColdStartWindow, "at least SettleTime (%v)", c.SettleTime)
	k.must(c.ScaleWindow >= c.SettleTime, "ScaleWindow", c.ScaleWindow, "at least SettleTime (%v)", c.SettleTime)
	most := int64(c.MaxWorkers)
	if !idsOK {
		most = maxIDs
	}
	k.between("ExpectedWorkers", int64(c.ExpectedWorkers), 0, most)
	k.least("EmergencyGrace", c.EmergencyGrace, time.Millisecond)
	k.least("StuckAfter", c.StuckAfter, time.Millisecond)
	k.between("MovesInFlight", int64(c.MovesInFlight), 1, maxIDs)
	k.must(c.RestartGrace == 0 || c.RestartGrace >= time.Millisecond, "RestartGrace", c.RestartGrace, "0 for none, or at least 1ms")
	k.must(c.Cooldown == 0 || c.Cooldown >= time.Millisecond, "Cooldown", c.Cooldown, "negative for none, or at least 1ms")
	k.least("DrainTimeout", c.DrainTimeout, time.Millisecond)
	k.least("RecoveryGrace", c.RecoveryGrace, time.Millisecond)
	k.must(c.RefreshInterval == 0 || c.RefreshInterval >= 100*time.Millisecond,
		"RefreshInterval", c.RefreshInterval, "0 for never, or at least 100ms")

	switch c.Isolation {
	case Freeze:
		k.must(c.MaxFreeze == 0 || c.MaxFreeze >= c.SessionTTL,
			"MaxFreeze", c.MaxFreeze, "0 for no limit, or at least SessionTTL (%v)", c.SessionTTL)
	case Fence:
		k.must(c.MaxFreeze == 0, "MaxFreeze", c.MaxFreeze, "0 under Isolation fence, which never freezes")
	default:
		k.must(false, "Isolation", c.Isolation, "freeze or fence")
	}

	d := c.Degraded
	if looksOK && beatOK {
		k.must(d.EnterAfter >= 3*c.answers(), "Degraded.EnterAfter", d.EnterAfter,
			"at least three times HeartbeatInterval, or ReconcileInterval if that is less (%v): in between a healthy store says nothing", 3*c.answers())
	} else {
		k.least("Degraded.EnterAfter", d.EnterAfter, time.Millisecond)
	}
	k.least("Degraded.ExitAfter", d.ExitAfter, time.Millisecond)
	k.between("Degraded.ErrorThreshold", int64(d.ErrorThreshold), 1, maxErrors)
	k.least("Degraded.ErrorWindow", d.ErrorWindow, time.Millisecond)

	a := c.Alerts
	k.least("Alerts.Info", a.Info, time.Millisecond)
	k.must(a.Warn > a.Info, "Alerts.Warn", a.Warn, "above Alerts.Info (%v)", a.Info)
	k.must(a.Error > a.Warn, "Alerts.Error", a.Error, "above Alerts.Warn (%v)", a.Warn)
	k.must(a.Critical > a.Error, "Alerts.Critical", a.Critical, "above Alerts.Error (%v)", a.Error)
	k.least("Alerts.Interval", a.Interval, time.Second)

	for field, d := range durations(*c) {
		k.must(d <= longest, field, d, "at most %v", longest)
	}
	return errors.Join(k.errs...)
}

// durations are all fields that are, in order, those of fields by their path.
func durations(c any) iter.Seq2[string, time.Duration] {
	return func(yield func(string, time.Duration) bool) {
		v := reflect.ValueOf(c)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			switch d := v.Field(i).Interface().(type) {
			case time.Duration:
				if !yield(name, d) {
					return
				}
			case Degraded, Alerts:
				for sub, d := range durations(d) {
					if !yield(name+"."+sub, d) {
						return
					}
				}
			}
		}
	}
}

// warnings says what is allowed and yet likely a mistake.
func (c *Config) warnings() []string {
	var all []string
	if c.Isolation == Fence && c.slack() < storeFailover {
		all = append(all, fmt.Sprintf(
			"SessionTTL − FenceMargin − 2·HeartbeatInterval is %v, less than the %v that a store of three nodes may need to elect a new leader: "+
				"whenever a node of it dies, all workers under fence may stop; raise SessionTTL to %v",
			c.slack(), storeFailover, wholeSeconds(c.SessionTTL+storeFailover-c.slack())))
	}
	return all
}

// slack is how long the store may be away, from the moment a renewal is due,
// before trust ends.
func (c *Config) slack() time.Duration { return c.SessionTTL - c.FenceMargin - 2*c.HeartbeatInterval }

func (k *checker) least(field string, d, least time.Duration) bool {
	return k.must(d >= least, field, d, "at least %v", least)
}

func (k *checker) between(field string, n, low, high int64) bool {
	return k.must(low <= n && n <= high, field, n, "from %d to %d", low, high)
}

func (k *checker) text(field, s string) {
	k.must(isText(s), field, s, "at most %d bytes of printable text", maxText)
}

func (k *checker) labels(labels map[string]string) {
	k.must(len(labels) <= maxLabels, "Labels", fmt.Sprintf("%d labels", len(labels)), "at most %d labels", maxLabels)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		k.must(key != "" && isText(key), "Labels", key, "named by 1 to %d bytes of printable text", maxText)
		k.text("Labels["+key+"]", labels[key])
	}
}

func whole(d time.Duration) bool { return d%time.Second == 0 }

func isName(s string) bool {
	return s != "" && len(s) <= maxPrefix && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}

func isText(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// software names the program that this is built into.
func software() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v[:min(len(v), maxText)]
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return ""
}
