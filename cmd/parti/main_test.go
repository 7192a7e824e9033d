//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// asParti makes the tests' program the command parti, and its guardian.
const asParti = "PARTI_TEST_MAIN"

// TestMain is main where parti is meant; main does not return.
func TestMain(m *testing.M) {
	if os.Getenv(asParti) != "" {
		main()
	}
	os.Exit(m.Run())
}

// quick are settings for tests. Who is silent is believed for some seconds all the same: on
// a busy machine a process may get no core for so long.
const quick = `
heartbeat_interval: 200ms
probe_interval: 100ms
lost_after: 5s
leader_ttl: 6s
cold_start_window: 20s
cooldown: -1ns
emergency_grace: 3s
recovery_grace: 500ms
`

// windows are short ones, for tests in which workers come and go, and long ones for those
// that begin with all that are expected, however late one of them is.
const (
	windows = "settle_time: 200ms\nscale_window: 400ms\n"
	patient = "settle_time: 20s\nscale_window: 20s\n"
)

const testTime = 2 * time.Minute

// A scene is a group of processes.
type scene struct {
	t    *testing.T
	dir  string
	args []string // of all
}

func newScene(t *testing.T, config string, args ...string) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir()}
	if !strings.Contains(config, "settle_time") {
		config += windows
	}
	s.args = append([]string{"run", "--json", "--group", "g", "--config", s.file("config.yaml", quick+config)}, args...)
	return s
}

// nats starts a server that all use.
func (s *scene) nats() *scene {
	s.t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: s.t.TempDir(), NoSigs: true, NoLog: true}
	srv, err := server.NewServer(o)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(testTime) {
		s.t.Fatal("no server")
	}
	s.t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	s.args = append(s.args, "--nats", srv.ClientURL())
	return s
}

func (s *scene) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// An entry is a line that parti writes.
type entry struct {
	Event     string    `json:"event"`
	Time      time.Time `json:"time"`
	Worker    string    `json:"worker"`
	Partition string    `json:"partition"`
	Token     uint64    `json:"token,string"`
	PID       int       `json:"pid"`
	Code      *int      `json:"code"`
	Signal    string    `json:"signal"`
	Backoff   *int64    `json:"backoff_ms"`
	Why       string    `json:"why"`
	Err       string    `json:"err"`
	Text      string    `json:"text"`
	Stream    string    `json:"stream"`
	Line      string    `json:"line"`
	More      bool      `json:"more"`
}

// A proc is a process of parti.
type proc struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{} // it has ended, and nobody writes in its name any more

	mu   sync.Mutex
	all  []entry
	news chan struct{} // closed and made anew when there is more
}

// prepare makes a process of parti with a script of sh as its command.
func (s *scene) prepare(name, script string, args ...string) *proc {
	s.t.Helper()
	words := slices.Concat(s.args, []string{"--identity", name}, args, []string{"--", "sh", "-c", script})
	p := &proc{t: s.t, name: name, cmd: exec.Command(os.Args[0], words...), done: make(chan struct{}), news: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asParti+"=1")
	return p
}

// start starts it.
func (s *scene) start(name, script string, args ...string) *proc {
	s.t.Helper()
	p := s.prepare(name, script, args...)
	out, talk := p.pipes()
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var read sync.WaitGroup
	read.Go(func() { p.read(out) })
	read.Go(func() { p.read(talk) })
	go func() {
		read.Wait()
		_ = p.cmd.Wait()
		close(p.done)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		for pid := range p.pids() {
			if lives(pid) {
				s.t.Errorf("%s: process %d was left behind", name, pid)
			}
		}
		if s.t.Failed() {
			s.t.Logf("%s\n%s", name, p)
		}
	})
	return p
}

// pipes are what it writes and what it complains. The guardian holds them for as long as
// there is one.
func (p *proc) pipes() (out, talk io.ReadCloser) {
	p.t.Helper()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	talk, err = p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	return out, talk
}

func (p *proc) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := entry{}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = entry{Event: "odd", Text: lines.Text()}
		}
		p.mu.Lock()
		p.all = append(p.all, e)
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *proc) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for i, e := range p.all {
		if e.Event == "output" && i > 200 {
			continue
		}
		fmt.Fprintf(&b, "  %s %s %s %.200s%.200s\n", e.Time.Format("05.000"), e.Event, e.Partition, e.Text, e.Line)
	}
	return b.String()
}

// entries are what was written so far.
func (p *proc) entries() []entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// until waits until what was written is enough.
func (p *proc) until(what string, enough func(all []entry) bool) {
	p.t.Helper()
	late := time.NewTimer(testTime)
	defer late.Stop()
	for {
		p.mu.Lock()
		news := p.news
		p.mu.Unlock()
		if enough(p.entries()) {
			return
		}
		select {
		case <-news:
		case <-late.C:
			p.t.Fatalf("%s: still not: %s", p.name, what)
		}
	}
}

// first waits for an entry.
func (p *proc) first(what string, is func(e entry) bool) entry {
	p.t.Helper()
	return firstOf(p.t, what, is, p)
}

// firstOf waits for an entry of any of two processes, or of one.
func firstOf(t *testing.T, what string, is func(e entry) bool, p ...*proc) entry {
	t.Helper()
	late := time.NewTimer(testTime)
	defer late.Stop()
	for {
		var news [2]chan struct{}
		for i, p := range p {
			p.mu.Lock()
			news[i] = p.news
			p.mu.Unlock()
			if all := p.entries(); slices.ContainsFunc(all, is) {
				return all[slices.IndexFunc(all, is)]
			}
		}
		select {
		case <-news[0]:
		case <-news[1]:
		case <-late.C:
			t.Fatalf("still not: %s", what)
		}
	}
}

// says waits for a line of a partition's command; any partition's if there is none.
func (p *proc) says(partition, line string) entry {
	p.t.Helper()
	return p.first(partition+" says "+line, func(e entry) bool {
		return e.Event == "output" && (partition == "" || e.Partition == partition) && e.Line == line
	})
}

// of are the entries of one kind, so far.
func of(all []entry, event string) []entry {
	return slices.DeleteFunc(slices.Clone(all), func(e entry) bool { return e.Event != event })
}

// running waits until so many commands of a process run, and say that they do. While a
// fleet evens out that may be so for a moment: see share.
func (p *proc) running(n int) []entry {
	p.t.Helper()
	var now []entry
	p.until(fmt.Sprintf("%d commands run", n), func(all []entry) bool {
		var said bool
		now, said = runningOf(all)
		return said && len(now) == n
	})
	return now
}

// runningOf are the commands that run, and whether all of them say that they do.
func runningOf(all []entry) (now []entry, said bool) {
	ended := map[int]bool{}
	for _, e := range of(all, "ended") {
		ended[e.PID] = true
	}
	now = slices.DeleteFunc(of(all, "started"), func(e entry) bool { return ended[e.PID] })
	lines := map[string]bool{}
	for _, e := range of(all, "output") {
		lines[fmt.Sprint(e.Partition, e.Token)] = true
	}
	return now, !slices.ContainsFunc(now, func(e entry) bool { return !lines[fmt.Sprint(e.Partition, e.Token)] })
}

// share waits until each of several processes runs so many commands, all of different
// partitions: then the fleet is even, since that is all there is.
func share(t *testing.T, n int, procs ...*proc) [][]entry {
	t.Helper()
	late := time.After(testTime)
	for {
		changed := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(late)}}
		lists := make([][]entry, len(procs))
		partitions := map[string]bool{}
		even := true
		for i, p := range procs {
			p.mu.Lock()
			changed = append(changed, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(p.news)})
			p.mu.Unlock()
			var said bool
			lists[i], said = runningOf(p.entries())
			even = even && said && len(lists[i]) == n
			for _, e := range lists[i] {
				partitions[e.Partition] = true
			}
		}
		if even && len(partitions) == n*len(procs) {
			return lists
		}
		if i, _, _ := reflect.Select(changed); i == 0 {
			t.Fatalf("still not: %d commands run in each of %d processes", n, len(procs))
		}
	}
}

// pids are all processes that commands were, or said that they have started: "pid 123".
func (p *proc) pids() map[int]bool { return pidsOf(p.entries()) }

// pidsNow are those of the commands that were started as these entries say.
func (p *proc) pidsNow(started []entry) map[int]bool {
	return pidsOf(slices.DeleteFunc(p.entries(), func(e entry) bool {
		return !slices.ContainsFunc(started, func(s entry) bool {
			return s.Partition == e.Partition && s.Token == e.Token && (e.Event != "started" || s.PID == e.PID)
		})
	}))
}

func pidsOf(entries []entry) map[int]bool {
	all := map[int]bool{}
	for _, e := range entries {
		pid := 0
		if _, err := fmt.Sscanf(e.Line, "pid %d", &pid); err == nil {
			all[pid] = true
		}
		if e.Event == "started" {
			all[e.PID] = true
		}
	}
	return all
}

// guardian is the number of its guardian.
func (p *proc) guardian() int {
	p.t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, path := range all {
		text, _ := os.ReadFile(path)
		pid := 0
		if _, err := fmt.Sscan(string(text), &pid); err == nil {
			return pid
		}
	}
	p.t.Fatal("it has no guardian")
	return 0
}

func (p *proc) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits until the process has ended, with that exit code.
func (p *proc) ends(code int) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(testTime):
		p.t.Fatalf("%s goes on", p.name)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%s: exit code %d, not %d", p.name, got, code)
	}
}

// lives reports whether there is such a process, other than as a number that nobody asked for yet.
func lives(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !isLinux()
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z")
}

func isLinux() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// waitGone waits until none of the processes lives, and returns when that was.
func waitGone(t *testing.T, pids map[int]bool) time.Time {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.NewTimer(testTime)
	defer late.Stop()
	for {
		left := false
		for pid := range pids {
			left = left || lives(pid)
		}
		if !left {
			return time.Now()
		}
		select {
		case <-look.C:
		case <-late.C:
			t.Fatalf("some of these go on: %v", pids)
		}
	}
}
