package frame_test

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/parti-go/parti/partitest/internal/frame"
)

// Whatever comes is handed on as it is, up to where it is no protocol.
func FuzzRead(f *testing.F) {
	f.Add([]byte("PUB a.b 5\r\nhello\r\nPING\r\n"))
	f.Add([]byte("HPUB a r 12 17\r\nNATS/1.0\r\n\r\nhello\r\n"))
	f.Add([]byte("MSG a 1 r 0\r\n\r\nHMSG a 2 12 12\r\nNATS/1.0\r\n\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		var out []byte
		for {
			fr, err := frame.Read(r)
			if err != nil {
				break
			}
			out = append(out, fr.Data...)
		}
		if !bytes.HasPrefix(in, out) {
			t.Errorf("read %q of %q", out, in)
		}
	})
}
