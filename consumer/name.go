package consumer

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/pattern"
	"github.com/parti-go/parti/plan"
)

// maxName is the server's limit on the name of a consumer.
const maxName = 255

var groupName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// consumerName is the name of the durable consumer of a partition. Different groups and
// partitions have different ones: what a name may not contain, and = itself, is
// written in hexadecimal.
func consumerName(group, partition string) (string, error) {
	var b strings.Builder
	b.WriteString(group)
	b.WriteByte('~')
	for i := range len(partition) {
		c := partition[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	if b.Len() > maxName {
		return "", fmt.Errorf("consumer: partition %q: its consumer's name would have %d bytes, and the server takes %d: use shorter IDs, or fewer characters other than letters, digits, - and _", partition, b.Len(), maxName)
	}
	return b.String(), nil
}

// placeholder is what stands for the partition in a subject template.
const placeholder = "{partition}"

// A template is a subject in which {partition} stands for the ID.
type template string

// check says whether it is a subject with one placeholder that fills whole tokens.
func (t template) check() error {
	s := string(t)
	if n := strings.Count(s, placeholder); n != 1 {
		return fmt.Errorf("consumer: subject %q: it must contain %s once, and contains it %d times", s, placeholder, n)
	}
	tokens := strings.Split(s, ".")
	for i, token := range tokens {
		switch {
		case token == placeholder:
		case strings.Contains(token, placeholder):
			return fmt.Errorf("consumer: subject %q: %s must be a token of its own, such as orders.%s", s, placeholder, placeholder)
		case token == "" || strings.ContainsAny(token, " \t\r\n\f"):
			return fmt.Errorf("consumer: subject %q: token %d is empty or has a space", s, i+1)
		case token == ">" && i < len(tokens)-1:
			return fmt.Errorf("consumer: subject %q: > must be the last token", s)
		case len(token) > 1 && strings.ContainsAny(token, "*>"):
			return fmt.Errorf("consumer: subject %q: * and > must be tokens of their own", s)
		}
	}
	return nil
}

// of is the subject of a partition.
func (t template) of(partition string) (string, error) {
	if err := plan.ValidID(partition); err != nil {
		return "", err
	}
	return strings.Replace(string(t), placeholder, partition, 1), nil
}

// distinct says whether no message can be of two of these partitions. Only where the
// template ends with > has a filter room for another one's tokens, and then only for those
// of an ID that begins with its own: all others have another token in the same place.
func (t template) distinct(partitions []parti.Partition) error {
	if !strings.HasSuffix(string(t), ">") {
		return nil
	}
	there := make(map[string]bool, len(partitions))
	for _, p := range partitions {
		there[p.ID] = true
	}
	for _, p := range partitions {
		for i := range len(p.ID) {
			if p.ID[i] != '.' || !there[p.ID[:i]] {
				continue
			}
			a, err := t.of(p.ID[:i])
			if err != nil {
				return err
			}
			b, err := t.of(p.ID)
			if err != nil {
				return err
			}
			if pattern.Meet(a, b) {
				return fmt.Errorf("consumer: partitions %s and %s: with subject %s a message can be of both, of %s and %s: use IDs of which none begins with another and a dot, or a subject that does not end with >", p.ID[:i], p.ID, t, a, b)
			}
		}
	}
	return nil
}

// within says whether a stream with these subjects can have messages of any partition.
func (t template) within(subjects []string) bool {
	all := strings.Replace(string(t), placeholder, "*", 1)
	if strings.HasSuffix(string(t), placeholder) {
		all = strings.Replace(string(t), placeholder, ">", 1) // an ID may have several tokens
	}
	return pattern.WithinAny(strings.Replace(string(t), placeholder, "x", 1), subjects) || pattern.WithinAny(all, subjects)
}
