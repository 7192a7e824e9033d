package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A machine is what the computer had to do besides waiting, and how late it woke this
// process: where that is much, it is a part of every figure.
type machine struct {
	enough, over chan struct{}
	late         []time.Duration
	busy, total  float64
}

const wakeEvery = 10 * time.Millisecond

func watchMachine() *machine {
	m := &machine{enough: make(chan struct{}), over: make(chan struct{})}
	m.busy, m.total = ticks()
	go func() {
		defer close(m.over)
		for {
			due := time.Now().Add(wakeEvery)
			select {
			case <-time.After(wakeEvery):
				m.late = append(m.late, time.Since(due))
			case <-m.enough:
				return
			}
		}
	}()
	return m
}

func (m *machine) stop() {
	close(m.enough)
	<-m.over
	busy, total := ticks()
	m.busy, m.total = busy-m.busy, total-m.total
}

func (m *machine) String() string {
	s := fmt.Sprintf("woken late by p50 %v, p99 %v, max %v", quantile(m.late, 0.5), quantile(m.late, 0.99), quantile(m.late, 1))
	if m.total > 0 {
		s += fmt.Sprintf("; %.2f of %d cores were busy", m.busy/m.total*float64(runtime.NumCPU()), runtime.NumCPU())
	}
	return s
}

// ticks are what all cores together have spent since the start, and how much of it working.
func ticks() (busy, total float64) {
	text, _ := os.ReadFile("/proc/stat") // without it nothing is said of the cores
	head, _, _ := strings.Cut(string(text), "\n")
	const idle, waiting, guest = 3, 4, 8 // guests are counted as users already
	for i, word := range strings.Fields(strings.TrimPrefix(head, "cpu")) {
		n, _ := strconv.ParseFloat(word, 64)
		if i >= guest {
			break
		}
		total += n
		if i != idle && i != waiting {
			busy += n
		}
	}
	return busy, total
}
