//go:build unix

package run

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

// An Embedded is NATS for the processes of one machine that share a directory. Whoever
// is there first runs the server; when that process is gone, another takes over, with
// the same data. Where the server is stands in the file "url" of the directory, which
// only its owner may read.
type Embedded struct {
	dir  string
	say  func(text string)
	stop context.CancelFunc
	done sync.WaitGroup
}

const (
	// takeOverEvery is how often to look whether nobody runs the server.
	takeOverEvery = 200 * time.Millisecond
	serverTime    = 15 * time.Second
	loopback      = "127.0.0.1"
)

// Embed begins to use the server of a directory, or to be it. It tells of what it does
// by say.
func Embed(dir string, say func(text string)) (*Embedded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	e := &Embedded{dir: dir, say: say, stop: stop}
	first := make(chan error, 1)
	e.done.Go(func() {
		defer lock.Close()
		e.keep(ctx, lock, first)
	})
	if err := <-first; err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// keep runs the server once it can. It tells first how the first try went.
func (e *Embedded) keep(ctx context.Context, lock *os.File, first chan<- error) {
	look := time.NewTicker(takeOverEvery)
	defer look.Stop()
	told := ""
	for try := 0; ; try++ {
		s, err := e.serve(lock)
		if try == 0 {
			first <- err
		}
		if s != nil {
			<-ctx.Done()
			s.Shutdown()
			s.WaitForShutdown()
			return // the lock ends with its file
		}
		if err != nil && err.Error() != told {
			told = err.Error()
			e.say("the embedded NATS server cannot be taken over, and is tried again: " + told)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// serve starts the server if nobody else has. It returns nil if somebody has.
func (e *Embedded) serve(lock *os.File) (*server.Server, error) {
	switch err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, nil //nolint:nilnil // it is somebody else's
	case err != nil:
		return nil, os.NewSyscallError("flock", err)
	}
	s, err := e.start()
	if err != nil {
		_ = unix.Flock(int(lock.Fd()), unix.LOCK_UN)
	}
	return s, err
}

// start starts it where it was before, if that is free: who knows only that finds it again.
func (e *Embedded) start() (*server.Server, error) {
	token, port := rand.Text(), -1
	if u, err := e.address(); err == nil {
		token = u.User.Username()
		if l, err := net.Listen("tcp", u.Host); err == nil { //nolint:noctx // on loopback
			port = l.Addr().(*net.TCPAddr).Port
			_ = l.Close()
		}
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "parti-embedded", Host: loopback, Port: port, Authorization: token,
		JetStream: true, StoreDir: e.dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, err
	}
	last := &lastWords{}
	s.SetLogger(last, false, false)
	s.Start()
	for late := time.Now().Add(serverTime); !s.ReadyForConnections(takeOverEvery); {
		text := last.said()
		if text == "" && time.Now().Before(late) {
			continue
		}
		s.Shutdown()
		s.WaitForShutdown()
		return nil, errors.New(cmp.Or(text, fmt.Sprintf("it is not ready after %v", serverTime)))
	}
	at := s.Addr().(*net.TCPAddr).Port
	u := url.URL{Scheme: "nats", User: url.User(token), Host: net.JoinHostPort(loopback, strconv.Itoa(at))}
	if err := replace(e.file(), u.String()+"\n"); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	e.say(fmt.Sprintf("runs the embedded NATS server at %s; others find it by %s", u.Host, e.file()))
	return s, nil
}

// LastWords are what a server says of why it does not start, and nothing else.
type lastWords struct {
	mu   sync.Mutex
	text string
}

func (l *lastWords) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// Fatalf is called with that. The rest is for a log, and there is none.
func (l *lastWords) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = fmt.Sprintf(format, v...)
}

func (l *lastWords) Noticef(string, ...any) {}
func (l *lastWords) Warnf(string, ...any)   {}
func (l *lastWords) Errorf(string, ...any)  {}
func (l *lastWords) Debugf(string, ...any)  {}
func (l *lastWords) Tracef(string, ...any)  {}

func (e *Embedded) file() string { return filepath.Join(e.dir, "url") }

// replace writes a file as a whole, for its owner alone.
func replace(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// address is where the server is, as far as the directory tells.
func (e *Embedded) address() (*url.URL, error) {
	text, err := os.ReadFile(e.file())
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(strings.TrimSpace(string(text)))
	if err != nil || u.User == nil {
		return nil, fmt.Errorf("%s: it is no URL with a token", e.file())
	}
	return u, nil
}

// Dial connects to wherever the server is now; it is a [nats.CustomDialer].
func (e *Embedded) Dial(network, _ string) (net.Conn, error) {
	u, err := e.address()
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 2 * time.Second}
	return d.Dial(network, u.Host)
}

// Connect connects to the server, whichever process runs it, now and later.
func (e *Embedded) Connect(opts ...nats.Option) (*nats.Conn, error) {
	own := []nats.Option{nats.Name("parti"), nats.SetCustomDialer(e), nats.TokenHandler(func() string {
		if u, err := e.address(); err == nil {
			return u.User.Username()
		}
		return ""
	})}
	return nats.Connect("nats://"+loopback, append(opts, own...)...)
}

// Close ends the server if it is here. Another process takes over, if there is one.
func (e *Embedded) Close() {
	e.stop()
	e.done.Wait()
}
