package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/parti-go/parti/plan"
)

// Kind is a kind of record, and the first token of its key.
type Kind string

// The kinds, and what is kept under them.
const (
	Session Kind = "session" // roster.Session, by worker ID
	Leader  Kind = "leader"  // elect.Leader, one
	Plan    Kind = "plan"    // plan.Head, one
	Slice   Kind = "slice"   // plan.Slice, by worker ID
	Aside   Kind = "aside"   // []plan.Aside, one
	Log     Kind = "log"     // plan.Decision, by version
	Control Kind = "control" // plan.Control, by what it is about
	Chain   Kind = "chain"   // plan.Version, by the nonce of the leader that committed it
)

// kinds says of each kind whether its keys have a name.
var kinds = map[Kind]bool{Session: true, Leader: false, Plan: false, Slice: true, Aside: false, Log: true, Control: true, Chain: true}

// Prefix stands for all keys of the kind; see kv.Match.
func (k Kind) Prefix() string {
	if kinds[k] {
		return string(k) + "."
	}
	return string(k)
}

// A Key names a record.
type Key struct {
	Kind Kind
	// Name is any text, such as "worker-7" or "pin.tool-001.chamber-1"; empty for
	// the kinds that are one record.
	Name string
}

// AboutName is the name under which the session of that nonce answers, in JSON, what
// it is doing: see parti.About. Its nonce alone is what it is probed by.
func AboutName(nonce string) string { return "about." + nonce }

// LogKey is the key of the decision behind that plan. As text, such keys are in
// the order of versions.
func LogKey(v plan.Version) Key { return Key{Log, fmt.Sprintf("%020d", uint64(v))} }

// Version is the version of a LogKey.
func (k Key) Version() (plan.Version, error) {
	n, err := strconv.ParseUint(k.Name, 10, 64)
	if k.Kind != Log || err != nil || LogKey(plan.Version(n)) != k {
		return 0, fmt.Errorf("wire: %q is not the key of a decision", k)
	}
	return plan.Version(n), nil
}

// String is the key as the store knows it: the kind and, after a dot, the name.
// What a key of the store cannot hold is written as = and two hexadecimal digits
// for each byte.
func (k Key) String() string {
	if k.Name == "" {
		return string(k.Kind)
	}
	var b strings.Builder
	b.Grow(len(k.Kind) + 1 + len(k.Name))
	b.WriteString(string(k.Kind))
	b.WriteByte('.')
	for i := range len(k.Name) {
		if c := k.Name[i]; plain(k.Name, i) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

// plain says whether the byte at i of a name stands for itself. A dot does where
// it joins two tokens.
func plain(name string, i int) bool {
	switch c := name[i]; {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '/':
		return true
	case c == '.':
		return i > 0 && i < len(name)-1 && name[i-1] != '.'
	default:
		return false
	}
}

// ParseKey reads what String wrote. Every key has one way to be written.
func ParseKey(s string) (Key, error) {
	kind, rest, named := strings.Cut(s, ".")
	if has, known := kinds[Kind(kind)]; !known || has != named {
		return Key{}, fmt.Errorf("wire: %q is not a key of ours", s)
	}
	var name []byte
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if c == '=' && i+2 < len(rest) {
			n, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
			if err != nil {
				return Key{}, fmt.Errorf("wire: %q is not a key of ours", s)
			}
			c = byte(n)
			i += 2
		}
		name = append(name, c)
	}
	k := Key{Kind(kind), string(name)}
	if k.String() != s {
		return Key{}, fmt.Errorf("wire: %q is not a key of ours", s)
	}
	return k, nil
}
