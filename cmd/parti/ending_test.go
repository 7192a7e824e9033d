//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// What has something to clear away does so when its terminal goes away, and when nobody
// reads what it writes any more.
func TestEndings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  string
		until string // a line is read that has it
		hup   bool   // or else the reader goes
		code  int
	}{
		{"demo, hung up", "demo --nats URL --workers 3 --partitions 6 --pace 1m", "1/8 cold start", true, 0},
		{"demo, unread", "demo --nats URL --workers 3 --partitions 6 --pace 5s", "1/8 cold start", false, 1},
		{"demo with its own server, hung up", "demo --workers 3 --partitions 6 --pace 1m", "1/8 cold start", true, 0},
		{"demo with its own server, unread", "demo --workers 3 --partitions 6 --pace 5s", "1/8 cold start", false, 1},
		{"bench, hung up", "bench --nats URL --yes --workers 3 --partitions 6 --rounds 50", "the store", true, 1},
		{"bench, unread", "bench --nats URL --yes --workers 3 --partitions 6 --rounds 50", "the store", false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.hup && signal.Ignored(syscall.SIGHUP) {
				t.Skip("under nohup")
			}
			srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
			if err != nil {
				t.Fatal(err)
			}
			srv.Start()
			t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
			if !srv.ReadyForConnections(testTime) {
				t.Fatal("no server")
			}
			tmp := t.TempDir()
			left := func() int { // streams and directories
				info, err := srv.Jsz(nil)
				if err != nil {
					t.Fatal(err)
				}
				dirs, err := os.ReadDir(tmp)
				if err != nil {
					t.Fatal(err)
				}
				return info.Streams + len(dirs)
			}

			cmd := exec.Command(os.Args[0], strings.Fields(strings.Replace(c.args, "URL", srv.ClientURL(), 1))...)
			cmd.Env = append(os.Environ(), asParti+"=1", "TMPDIR="+tmp)
			talk, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			hung := time.AfterFunc(testTime, func() { _ = cmd.Process.Kill() })
			defer hung.Stop()
			lines := bufio.NewReader(talk)
			for said := ""; !strings.Contains(said, c.until); {
				if said, err = lines.ReadString('\n'); err != nil {
					t.Fatalf("it does not say %q: %v", c.until, err)
				}
			}
			if left() == 0 {
				t.Error("it has made nothing")
			}
			if c.hup {
				if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, lines)
			} else {
				_ = talk.Close()
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState; got.ExitCode() != c.code {
				t.Errorf("%v, and not exit code %d", got, c.code)
			}
			if n := left(); n != 0 {
				t.Errorf("%d streams or directories are left behind", n)
			}
		})
	}
}
