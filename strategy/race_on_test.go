//go:build race

package strategy_test

const raced = true
