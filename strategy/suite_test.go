package strategy_test

import (
	"testing"

	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// All strategies pass the suite that is offered for others.
func TestSuite(t *testing.T) {
	skipSame(t)
	for name, s := range map[string]strategytest.Strategy{
		"Sticky":         strategy.Sticky(),
		"PreferSpread":   strategy.Sticky(strategy.PreferSpread("shelf")),
		"ConsistentHash": strategy.ConsistentHash(),
		"Unbounded":      strategy.ConsistentHash(strategy.MaxLoad(0)),
		"Rendezvous":     strategy.Rendezvous(),
		"RoundRobin":     strategy.RoundRobin(),
	} {
		t.Run(name, func(t *testing.T) { strategytest.Test(t, s) })
	}
}
