package demo

import (
	"errors"
	"io"
	"net"
	"testing"
)

func TestACutLinkIsCutForGood(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ends := make(chan struct{}, 2)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn) // until it is closed
				ends <- struct{}{}
			}()
		}
	}()

	l := &link{}
	first, err := l.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	<-ends
	if n := len(l.conns); n != 1 {
		t.Errorf("%d connections are remembered", n)
	}

	l.Cut()
	<-ends // the other side has noticed
	if _, err := second.Write([]byte("x")); err == nil {
		t.Error("a cut connection takes what is written")
	}
	if _, err := l.Dial("tcp", server.Addr().String()); !errors.Is(err, errCut) {
		t.Errorf("a killed worker connects again: %v", err)
	}
	_ = second.Close()
}
