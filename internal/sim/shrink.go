package sim

import (
	"slices"
	"time"
)

// Shrink removes from a scenario that breaks a promise what it does not need to
// break that same promise: first faults, then their length and reach, then hosts
// and partitions. It runs the scenario at most tries times.
func Shrink(sc *Scenario, promise Promise, tries int) *Scenario {
	best := *sc
	fails := func(try *Scenario) bool {
		if tries <= 0 {
			return false
		}
		tries--
		v := Run(try, Options{}).Violation
		return v != nil && v.Promise == promise
	}
	accept := func(try Scenario) bool {
		if fails(&try) {
			best = try
			return true
		}
		return false
	}
	for again := true; again && tries > 0; {
		again = false
		// Faults: halves, quarters, and so on down to one at a time.
		for size := (len(best.Faults) + 1) / 2; size >= 1; size /= 2 {
			for from := 0; from < len(best.Faults); {
				try := best
				try.Faults = slices.Delete(slices.Clone(best.Faults), from, min(from+size, len(best.Faults)))
				if accept(try) {
					again = true
				} else {
					from += size
				}
			}
		}
		for i := range best.Faults {
			f := best.Faults[i]
			change := func(g Fault) bool {
				try := best
				try.Faults = slices.Clone(best.Faults)
				try.Faults[i] = g
				return accept(try)
			}
			for j := 0; len(f.Who) > 1 && j < len(f.Who); {
				g := f
				g.Who = slices.Delete(slices.Clone(f.Who), j, j+1)
				if change(g) {
					f, again = g, true
				} else {
					j++
				}
			}
			for _, d := range []time.Duration{time.Second, 5 * time.Second, f.For / 2} {
				if g := f; d > 0 && d < f.For {
					if g.For = d.Round(time.Millisecond); change(g) {
						break
					}
				}
			}
		}
		for len(best.Weights) > 1 {
			try := best
			try.Weights = best.Weights[:len(best.Weights)/2]
			if !accept(try) {
				break
			}
			again = true
		}
		for h := len(best.Hosts) - 1; h > 0; h-- { // only the last can go: numbers name them
			if slices.ContainsFunc(best.Faults, func(f Fault) bool { return slices.Contains(f.Who, h) }) {
				break
			}
			try := best
			try.Hosts = best.Hosts[:h]
			if !accept(try) {
				break
			}
			again = true
		}
	}
	best.Expect = promise
	return &best
}
