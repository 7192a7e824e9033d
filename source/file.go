package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/parti-go/parti/plan"
)

const (
	// maxFile is the size of the largest file that is read, in bytes.
	maxFile = 256 << 20
	// settle is for how long a file must stay as it is before it is read anew, and
	// settleTries how often that is waited for.
	settle      = 100 * time.Millisecond
	settleTries = 50
)

// format is how a file is written.
type format uint8

const (
	byName format = iota
	inLines
	inJSON
	inYAML
)

// Lines reads the file as lines, whatever its name is.
func Lines() FileOption { return fileOption(func(o *options) { o.format = inLines }) }

// JSON reads the file as JSON, whatever its name is.
func JSON() FileOption { return fileOption(func(o *options) { o.format = inJSON }) }

// YAML reads the file as YAML, whatever its name is, with a function that decodes it: the
// Unmarshal of a YAML library.
func YAML(unmarshal func([]byte, any) error) FileOption {
	return fileOption(func(o *options) { o.format, o.decode = inYAML, unmarshal })
}

// File lists the partitions that a file has, and watches it. Its name says how it is
// written, or an option does:
//
//   - .json: a list of IDs, of objects with id, weight and labels, or of both:
//     ["tool-001", {"id": "tool-002", "weight": 5, "labels": {"room": "3"}}]
//   - .yaml and .yml: the same in YAML, with the option [YAML]
//   - any other: one partition on each line, an ID and possibly a weight, with blanks
//     between. From # at the beginning of a word on, a line is a comment.
//
// The file should be replaced as a whole, by a rename, or as Kubernetes replaces what it
// mounts of a ConfigMap. One that is overwritten in place is read once it has stayed the
// same for 100 ms. Besides, what may be half a file is an error: one that is empty, JSON
// or YAML that does not parse, and a last line without its end in YAML and in lines. To list
// no partitions, write [] in JSON and YAML, and in lines a comment.
//
// A file that is not there, or not valid, is an error of ListPartitions, not of File, so
// that a fleet can start again meanwhile: only its leader needs the file. A program that
// is not to start without it lists it once at its start. It may have 256 MiB.
func File(path string, opts ...FileOption) (*Watched, error) {
	o := options{every: time.Second}
	for _, set := range opts {
		if set != nil {
			set.file(&o)
		}
	}
	if path == "" {
		return nil, &OptionError{Option: "File", Value: `""`, Want: "use the path of a file"}
	}
	if o.format == byName {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".json":
			o.format = inJSON
		case ".yaml", ".yml":
			o.format = inYAML
		default:
			o.format = inLines
		}
	}
	if o.format == inYAML && o.decode == nil {
		return nil, &OptionError{Option: "File", Value: fmt.Sprintf("%q", path), Want: "add the option source.YAML(yaml.Unmarshal), with the YAML library of your choice"}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	f := &file{path: path, format: o.format, decode: o.decode}
	f.name = fmt.Sprintf("file %q", path)
	return &Watched{name: f.name, opts: o, read: f.read}, nil
}

// A file is read anew when its content changes.
type file struct {
	name   string
	path   string
	format format
	decode func([]byte, any) error

	mu   sync.Mutex
	sum  [sha256.Size]byte // of what all was read from
	all  []plan.Partition
	good bool // there was such
}

// read lists what is in the file.
func (f *file) read(ctx context.Context) ([]plan.Partition, error) {
	data, err := f.content()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	for try := 0; ; try++ {
		f.mu.Lock()
		all, same := f.all, f.good && f.sum == sum
		f.mu.Unlock()
		if same {
			return all, nil
		}
		if try == settleTries {
			return nil, fmt.Errorf("it keeps changing, for %v by now: replace it as a whole, by a rename", settleTries*settle)
		}
		pause(ctx, settle)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if data, err = f.content(); err != nil {
			return nil, err
		}
		before := sum
		if sum = sha256.Sum256(data); sum == before {
			break
		}
	}
	all, err := f.parse(data)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.all, f.sum, f.good = all, sum, true
	f.mu.Unlock()
	return all, nil
}

// content is what is in the file now.
func (f *file) content() ([]byte, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("it is not there: make it, or see whether the path is right: %w", err)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file: use one")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it has %d bytes: use one of at most %d", info.Size(), maxFile)
	}
	return os.ReadFile(f.path)
}

// parse reads the text of a file.
func (f *file) parse(data []byte) ([]plan.Partition, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("it is empty, as if it was being written: to list no partitions, write [] in JSON and YAML, and in lines a comment")
	}
	var c collector
	var err error
	switch f.format {
	case inJSON:
		err = parseJSON(data, &c)
	case inYAML:
		err = parseYAML(data, f.decode, &c)
	case inLines, byName:
		err = parseLines(data, &c)
	}
	if err != nil {
		return nil, err
	}
	return c.list(f.name)
}
