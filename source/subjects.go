package source

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/pattern"
	"github.com/parti-go/parti/plan"
)

// WholeSubject makes each subject a partition, with the subject as its ID. The template
// has no {partition} then.
func WholeSubject() SubjectsOption { return subjectsOption(func(o *options) { o.whole = true }) }

// WeighMessages makes the number of the messages that the stream has of a partition its
// weight, rounded down to a power of two, so that weights do not change with each
// message. Default: all weigh the same.
func WeighMessages() SubjectsOption { return subjectsOption(func(o *options) { o.weigh = true }) }

// Subjects lists what stands for {partition} in the subjects of a stream that match a
// template, such as orders.{partition}.> or orders.*.{partition}. It is one token, and
// the same template does for consumer.NewDurable.
//
// A partition is there as long as the stream has a message of it. So this is for streams
// that keep some of each: with limits retention, and without a MaxAge that a quiet
// partition may outlast. A work queue or a stream with interest retention removes
// what is consumed, and is refused.
//
// Only the leader asks, one small request each time; it reads the subjects when the
// stream has changed since. A million of them is ten answers of some megabytes. The user
// needs the permission to publish to $JS.API.STREAM.INFO.<stream>.
func Subjects(js jetstream.JetStream, stream, template string, opts ...SubjectsOption) (*Watched, error) {
	o := options{every: 10 * time.Second}
	for _, set := range opts {
		if set != nil {
			set.subjects(&o)
		}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &subjects{streamReader: streamReader{js: js, stream: stream}, weigh: o.weigh}
	if err := s.parse(template, o.whole); err != nil {
		return nil, err
	}
	s.name = "subjects of stream " + stream
	if err := checkStream("Subjects", js, stream); err != nil {
		return nil, err
	}
	return &Watched{name: s.name, opts: o, read: s.read}, nil
}

// checkStream looks at what is asked about.
func checkStream(option string, js jetstream.JetStream, stream string) error {
	switch {
	case js == nil:
		return &OptionError{Option: option, Value: "nil", Want: "give a jetstream.JetStream"}
	case stream == "" || strings.ContainsAny(stream, " .*>/\\\t\r\n"):
		return &OptionError{Option: option, Value: fmt.Sprintf("%q", stream), Want: "use a name without blanks and any of . * > / \\"}
	}
	return nil
}

type subjects struct {
	streamReader

	name   string
	filter string
	token  int // which token is the partition; -1: all are
	weigh  bool
}

const placeholder = "{partition}"

// parse reads the template.
func (s *subjects) parse(template string, whole bool) error {
	bad := func(format string, args ...any) error {
		return &OptionError{Option: "Subjects", Value: fmt.Sprintf("%q", template), Want: fmt.Sprintf(format, args...)}
	}
	s.token = -1
	tokens := strings.Split(template, ".")
	for i, token := range tokens {
		switch {
		case token == placeholder && s.token >= 0:
			return bad("use %s once", placeholder)
		case token == placeholder:
			s.token = i
			tokens[i] = "*"
		case strings.Contains(token, placeholder):
			return bad("make %s a token of its own, as in orders.%s", placeholder, placeholder)
		case token == "" || strings.ContainsAny(token, " \t\r\n\f"):
			return bad("token %d is empty or has a blank: mend it", i+1)
		case token == ">" && i < len(tokens)-1:
			return bad("use > as the last token only")
		case len(token) > 1 && strings.ContainsAny(token, "*>"):
			return bad("make * and > tokens of their own")
		}
	}
	switch {
	case whole && s.token >= 0:
		return bad("leave out %s, or the option WholeSubject", placeholder)
	case !whole && s.token < 0:
		return bad("put %s where the partition stands, as in orders.%s.>, or use the option WholeSubject", placeholder, placeholder)
	}
	s.filter = strings.Join(tokens, ".")
	return nil
}

func (s *subjects) read(ctx context.Context) ([]plan.Partition, error) {
	return s.fresh(ctx, s.check, func() ([]plan.Partition, error) {
		all, err := s.streamReader.subjects(ctx, s.filter)
		if err != nil {
			return nil, err
		}
		return s.partitions(all)
	})
}

// check says whether the stream will do.
func (s *subjects) check(info *streamInfo) error {
	c := info.Config
	if c.Retention != "" && c.Retention != "limits" {
		return fmt.Errorf("its retention is %s, so that a partition would end when it has been consumed: use a stream with limits retention, or another source", c.Retention)
	}
	if c.Mirror != nil || len(c.Sources) > 0 {
		return nil // which subjects there can be is not known here
	}
	subjects := c.Subjects
	if to := c.Transform.Destination; to != "" {
		subjects = append(subjects, pattern.Mapped(to))
	}
	for _, subject := range subjects {
		if pattern.Meet(subject, s.filter) {
			return nil
		}
	}
	return fmt.Errorf("it has no subjects like %s, but %s: use a template for these, or give it those", s.filter, strings.Join(subjects, ", "))
}

// partitions makes partitions of subjects and counts of messages.
func (s *subjects) partitions(all map[string]uint64) ([]plan.Partition, error) {
	counts := make(map[string]uint64, len(all))
	from := make(map[string]string, len(all)) // a subject of each, to be named
	for subject, n := range all {
		id := subject
		if s.token >= 0 {
			tokens := strings.Split(subject, ".")
			if s.token >= len(tokens) {
				return nil, fmt.Errorf("the server says that %s matches %s", subject, s.filter)
			}
			id = tokens[s.token]
		}
		counts[id] += n
		if f, ok := from[id]; !ok || subject < f {
			from[id] = subject
		}
	}
	var c collector
	for id, n := range counts {
		p := plan.Partition{ID: id}
		if s.weigh && n > 0 {
			p.Weight = 1 << min(bits.Len64(n)-1, 62)
		}
		c.add(spot{word: fmt.Sprintf("subject %q", from[id])}, p)
	}
	return c.list(s.name)
}
