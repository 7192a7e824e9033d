package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// database starts a PostgreSQL, or skips the test where none is installed. It returns a URL.
func database(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Skip("no PostgreSQL is installed in /usr/lib/postgresql (Debian: apt-get install postgresql)")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir := t.TempDir()
	as := &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // it refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("PostgreSQL does not run as root, and there is no user postgres:", err)
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if err := errors.Join(errUID, errGID, os.Chmod(filepath.Dir(dir), 0o711), os.Chown(dir, uid, gid)); err != nil {
			t.Fatal(err)
		}
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	command := func(name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		var out bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, &out, &out, as
		return cmd, &out
	}
	cmd, out := command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	if err := cmd.Run(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	cmd, out = command("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-F")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it ends sessions, and then itself
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s", out)
		}
	})
	return "host=" + dir + " user=postgres dbname=postgres"
}

func TestFollow(t *testing.T) {
	url := database(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	late := time.After(30 * time.Second)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for db.PingContext(t.Context()) != nil {
		select {
		case <-again.C:
		case <-late:
			t.Fatal("PostgreSQL does not start")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string, 100)
	ended := make(chan error, 1)
	go func() { ended <- follow(ctx, url, func(all string) { seen <- all }) }()
	expect := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-seen:
				if got == want || want != "" && strings.Contains(got, want) {
					return
				}
			case err := <-ended:
				t.Fatal(err)
			case <-late:
				t.Fatalf("not told of %s", want)
			}
		}
	}
	expect("[]")
	for _, step := range []struct{ statement, want string }{
		{"INSERT INTO tenants VALUES ('amber', 1), ('birch', 5)", "[{amber 1 map[]} {birch 5 map[]}]"},
		{"UPDATE tenants SET weight = 7 WHERE id = 'amber'", "[{amber 7 map[]} {birch 5 map[]}]"},
		{"UPDATE tenants SET weight = -1 WHERE id = 'amber'", `partition "amber" has the weight -1`},
		{"DELETE FROM tenants WHERE id = 'amber'", "[{birch 5 map[]}]"},
		{"TRUNCATE tenants", "[]"},
	} {
		if _, err := db.ExecContext(t.Context(), step.statement); err != nil {
			t.Fatal(err)
		}
		expect(step.want)
	}
	// A listener whose session is ended says so: the Manager begins again after a second.
	if _, err := db.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN tenants'"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "listen for changes: ") {
			t.Error(err)
		}
	case <-late:
		t.Fatal("a listener without a connection goes on")
	}
	go func() { ended <- follow(ctx, url, func(all string) { seen <- all }) }()
	expect("[]")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	if err := run(t.Context(), nil); err == nil || !strings.Contains(fmt.Sprint(err), "give the URL of a database") {
		t.Error(err)
	}
}
