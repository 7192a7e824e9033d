package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/spf13/pflag"
)

// connectWith connects as a command with these flags does.
func connectWith(ctx context.Context, env map[string]string, args ...string) (where string, err error) {
	var c connection
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.flags(f)
	if err := f.Parse(args); err != nil {
		return "", err
	}
	nc, err := c.connect(ctx, &Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Env: func(k string) string { return env[k] }})
	if err != nil {
		return "", err
	}
	defer nc.Close()
	if _, err := c.jetstream(nc); err != nil {
		return "", err
	}
	return nc.ConnectedUrl(), nil
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Where a command connects, and as whom: each source alone, and which comes first.
func TestConnect(t *testing.T) {
	pair, err := nkeys.CreatePair(nkeys.PrefixByteUser)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pair.PublicKey()
	seed, _ := pair.Seed()
	open := serve(t, server.Options{ServerName: "open"}).ClientURL()
	named := serve(t, server.Options{ServerName: "named", Username: "me", Password: "secret"}).ClientURL()
	token := serve(t, server.Options{ServerName: "token", Authorization: "t0ken"}).ClientURL()
	keyed := serve(t, server.Options{ServerName: "keyed", Nkeys: []*server.NkeyUser{{Nkey: public}}}).ClientURL()

	home := t.TempDir()
	seedFile := put(t, filepath.Join(home, "seed.nk"), string(seed))
	conf := filepath.Join(home, "nats")
	put(t, filepath.Join(conf, "context.txt"), "open\n")
	for name, text := range map[string]string{
		"open":   `{"url": "` + open + `"}`,
		"named":  `{"url": "` + named + `", "user": "me", "password": "secret"}`,
		"stale":  `{"url": "` + named + `", "user": "me", "password": "old"}`,
		"env":    `{"url": "` + named + `", "user": "me", "password": "env://SECRET"}`,
		"token":  `{"url": "` + token + `", "token": "t0ken"}`,
		"keyed":  `{"url": "` + keyed + `", "nkey": "$SEEDS/seed.nk"}`,
		"url":    `{"url": "` + named + `"}`,
		"socks":  `{"url": "` + open + `", "socks_proxy": "socks5://x"}`,
		"op":     `{"url": "` + open + `", "creds": "op://vault/x"}`,
		"broken": `{`,
		"gone":   `{"url": "` + open + `", "creds": "/not/there.creds"}`,
	} {
		put(t, filepath.Join(conf, "context", name+".json"), text)
	}
	env := func(more ...string) map[string]string {
		e := map[string]string{"XDG_CONFIG_HOME": home, "SECRET": "secret", "SEEDS": home}
		for i := 0; i < len(more); i += 2 {
			e[more[i]] = more[i+1]
		}
		return e
	}
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		want string
		says []string // of an error
		code Code
		hide string // what it must not say
	}{
		{name: "a flag", args: []string{"--nats", open}, want: open},
		{name: "several servers", args: []string{"--nats", "127.0.0.1:1, " + open}, want: open},
		{name: "the environment", env: map[string]string{"NATS_URL": open}, want: open},
		{name: "a flag before the environment", env: map[string]string{"NATS_URL": "nats://127.0.0.1:1"}, args: []string{"--nats", open}, want: open},
		{name: "the selected context", env: env(), want: open},
		{name: "the environment before the selected context", env: env("NATS_URL", named, "NATS_USER", "me", "NATS_PASSWORD", "secret"), want: named},
		{name: "a context by name", env: env(), args: []string{"--context", "named"}, want: named},
		{name: "a context before the environment", env: env("NATS_URL", open, "NATS_CONTEXT", "named", "NATS_USER", "you"), want: named},
		{name: "a flag before a context", env: env(), args: []string{"--context", "named", "--nats", open}, want: open},
		{name: "a secret in the environment", env: env(), args: []string{"--context", "env"}, want: named},
		{name: "a token of a context", env: env(), args: []string{"--context", "token"}, want: token},
		{name: "a token", args: []string{"--nats", token, "--user", "t0ken"}, want: token},
		{name: "an nkey of a context", env: env(), args: []string{"--context", "keyed"}, want: keyed},
		{name: "an nkey", args: []string{"--nats", keyed, "--nkey", seedFile}, want: keyed},
		{name: "a password of the environment", env: map[string]string{"NATS_PASSWORD": "secret"}, args: []string{"--nats", named, "--user", "me"}, want: named},
		{name: "a password before a context's", env: env(), args: []string{"--context", "stale", "--password", "secret"}, want: named},
		{name: "a password before the environment's", env: map[string]string{"NATS_USER": "me", "NATS_PASSWORD": "old"}, args: []string{"--nats", named, "--password", "secret"}, want: named},
		{name: "a password, and a user of the environment beyond a context", env: env("NATS_USER", "me"), args: []string{"--context", "url", "--password", "secret"}, want: named},
		{name: "a context's password before the environment's", env: env("NATS_USER", "you", "NATS_PASSWORD", "old"), args: []string{"--context", "named"}, want: named},
		{name: "who it is comes from one source", env: env("NATS_CREDS", "/not/there"), args: []string{"--context", "named"}, want: named},

		{name: "nobody", args: []string{"--nats", "nats://me:pw@127.0.0.1:1"}, code: Failed, says: []string{"cannot connect to nats://me:xxxxx@127.0.0.1:1: nobody listens there", "--nats"}},
		{name: "nobody, and no scheme", args: []string{"--nats", "me:s3cret@127.0.0.1:1"}, code: Failed, says: []string{"cannot connect to me:xxxxx@127.0.0.1:1: nobody listens there"}, hide: "s3cret"},
		{name: "nobody, and a token", args: []string{"--nats", "t0ken@127.0.0.1:1,nats://t0ken@127.0.0.1:1"}, code: Failed, says: []string{"cannot connect to xxxxx@127.0.0.1:1,nats://xxxxx@127.0.0.1:1: nobody listens there"}, hide: "t0ken"},
		{name: "the default", code: Failed, says: []string{"nats://127.0.0.1:4222", "nats-server -js"}},
		{name: "not let in", env: env(), args: []string{"--context", "url"}, code: Forbidden, says: []string{"does not let this user in", "--creds"}},
		{name: "a wrong password", args: []string{"--nats", named, "--user", "me", "--password", "x"}, code: Forbidden, says: []string{"it was shown --user"}},
		{name: "no such context", env: env(), args: []string{"--context", "nmaed"}, code: Usage, says: []string{`there is no NATS context "nmaed": did you mean named?`, "nats context ls"}},
		{name: "no context at all", args: []string{"--context", "x"}, code: Usage, says: []string{"there is none"}},
		{name: "a context's name", env: env(), args: []string{"--context", "../x"}, code: Usage, says: []string{"neither / nor .."}},
		{name: "a context that is broken", env: env(), args: []string{"--context", "broken"}, code: Usage, says: []string{`the NATS context "broken" cannot be used`}},
		{name: "what is not supported", env: env(), args: []string{"--context", "socks"}, code: Usage, says: []string{"socks_proxy is set"}},
		{name: "a scheme that is not", env: env(), args: []string{"--context", "op"}, code: Usage, says: []string{"creds is op://…"}},
		{name: "a file of a context", env: env(), args: []string{"--context", "gone"}, code: Usage, says: []string{"creds of the context gone: open /not/there.creds"}},
		{name: "a file of a flag", args: []string{"--nats", open, "--creds", "/not/there"}, code: Usage, says: []string{"--creds: open /not/there"}},
		{name: "a file of the environment", env: map[string]string{"NATS_NKEY": "/not/there"}, args: []string{"--nats", open}, code: Usage, says: []string{"NATS_NKEY: open /not/there"}},
		{name: "no nkey", args: []string{"--nats", open, "--nkey", put(t, filepath.Join(home, "no.nk"), "x")}, code: Usage, says: []string{"--nkey: ", "SU"}},
		{name: "half a certificate", args: []string{"--nats", open, "--tlscert", seedFile}, code: Usage, says: []string{"--tlscert: it needs a key as well"}},
		{name: "the other half", args: []string{"--nats", open, "--tlskey", seedFile}, code: Usage, says: []string{"--tlskey: it needs a certificate as well"}},
		{name: "no URL", args: []string{"--nats", "nats://"}, code: Usage, says: []string{"--nats: it is no URL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			where, err := connectWith(t.Context(), c.env, c.args...)
			if c.code == Done {
				if err != nil || where != c.want {
					t.Errorf("%s, error %v; want %s", where, err, c.want)
				}
				return
			}
			var b bytes.Buffer
			if code := report(&b, err); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if c.hide != "" && strings.Contains(b.String(), c.hide) {
				t.Errorf("it says %q:\n%s", c.hide, b.String())
			}
			for _, says := range append(c.says, "try: ") {
				if !strings.Contains(b.String(), says) {
					t.Errorf("it does not say %q:\n%s", says, b.String())
				}
			}
		})
	}
}

// silence is some servers that let everybody connect and say nothing. It tells when
// somebody has.
func silence(t *testing.T) (urls string, came <-chan struct{}) {
	t.Helper()
	var all []string
	guests := make(chan struct{}, 16)
	for range 3 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, "nats://"+l.Addr().String())
		var serving sync.WaitGroup
		serving.Go(func() {
			var there []net.Conn
			for {
				guest, err := l.Accept()
				if err != nil {
					break
				}
				there = append(there, guest)
				guests <- struct{}{}
			}
			for _, guest := range there {
				_ = guest.Close()
			}
		})
		t.Cleanup(func() {
			_ = l.Close()
			serving.Wait()
		})
	}
	return strings.Join(all, ","), guests
}

// A command that cannot connect ends when its --timeout is over, or it is interrupted,
// and not when it has waited for every server.
func TestConnectEnds(t *testing.T) {
	for _, c := range []struct{ command, rest string }{
		{"status", "--timeout 200ms"},
		{"check", "--timeout 200ms"},
		{"doctor", "--timeout 200ms"},
		{"status", ""},
		{"run", "-- true"},
		{"bench", "--yes"},
	} {
		t.Run(c.command+" "+c.rest, func(t *testing.T) {
			urls, came := silence(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			code, says := TimedOut, urls+" did not answer: the time of --timeout is over\ntry: a longer --timeout"
			if !strings.Contains(c.rest, "--timeout") {
				code, says = Failed, "interrupted"
				go func() {
					<-came
					interrupt()
				}()
			}
			args := []string{c.command, "--nats", urls}
			if c.command != "bench" {
				args = append(args, "--group", "g")
			}
			begun := time.Now()
			got, _, talk := try(ctx, nil, append(args, strings.Fields(c.rest)...)...)
			if got != code || !strings.HasPrefix(talk, "parti: "+says) {
				t.Errorf("exit code %d: %s", got, talk)
			}
			if took := time.Since(begun); took >= 2*connectTime { // one after the other they take three times that
				t.Errorf("it took %v", took)
			}
		})
	}
}

// The nsc command is asked for what a context leaves to it.
func TestContextOfNsc(t *testing.T) {
	url := serve(t, server.Options{}).ClientURL()
	home := t.TempDir()
	creds := put(t, filepath.Join(home, "x.creds"), credentials(t))
	put(t, filepath.Join(home, "nats", "context", "nsc.json"), `{"nsc": "nsc://op/acct/user"}`)
	script := put(t, filepath.Join(home, "bin", "nsc"), fmt.Sprintf(
		"#!/bin/sh\n[ \"$*\" = 'generate profile nsc://op/acct/user' ] || { echo no such user >&2; exit 1; }\n"+
			`echo '{"user_creds": "%s", "operator": {"service": ["%s"]}}'`+"\n", creds, url))
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(home, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	env := map[string]string{"XDG_CONFIG_HOME": home, "NATS_CONTEXT": "nsc"}
	if where, err := connectWith(t.Context(), env); err != nil || where != url {
		t.Errorf("%s, error %v", where, err)
	}
	put(t, filepath.Join(home, "nats", "context", "nsc.json"), `{"nsc": "op/acct/other"}`)
	if _, err := connectWith(t.Context(), env); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Error(err)
	}
}

// credentials are some that are well-formed.
func credentials(t *testing.T) string {
	t.Helper()
	pair, err := nkeys.CreatePairWithRand(nkeys.PrefixByteUser, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := pair.Seed()
	return "-----BEGIN NATS USER JWT-----\nx.y.z\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + string(seed) + "\n------END USER NKEY SEED------\n"
}

func TestNearest(t *testing.T) {
	there := []string{"worker-1", "worker-2", "worker-12", "tool-001.chamber-1"}
	for word, want := range map[string]string{
		"wroker-1": "worker-1", "worker-3": "worker-1", "Worker-2": "worker-2", "tool-001.chamber": "tool-001.chamber-1",
		"tool-1.chamber-1": "tool-001.chamber-1", "x": "", "something-else": "",
	} {
		if got := nearest(word, there); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
	if got := meant("zzz", nil); got != "there is none" {
		t.Error(got)
	}
	if got := meant("zzz", []string{"b", "a"}); got != "there is a, b" {
		t.Error(got)
	}
}
