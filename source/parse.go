package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parti-go/parti/plan"
)

var errCut = errors.New("the last line has no end, as if the rest was missing: end the file with a newline")

// parseLines reads an ID and possibly a weight from each line.
func parseLines(data []byte, c *collector) error {
	if data[len(data)-1] != '\n' {
		return errCut
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		for i, word := range words {
			if word[0] == '#' {
				words = words[:i]
				break
			}
		}
		at := spot{"line", n}
		switch len(words) {
		case 0:
		case 1:
			c.add(at, plan.Partition{ID: words[0]})
		case 2:
			weight, err := parseWeight(words[1])
			if err != nil {
				c.fault(at, fmt.Errorf("partition %q: %w", words[0], err))
				continue
			}
			c.add(at, plan.Partition{ID: words[0], Weight: weight})
		default:
			c.fault(at, fmt.Errorf("partition %q: %q is one word too many: write an ID and possibly a weight, and # before a comment", words[0], words[2]))
		}
	}
	return nil
}

func parseWeight(s string) (int64, error) {
	weight, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the weight %q is not a whole number that fits into 64 bits: write one, such as 5", s)
	}
	return weight, nil
}

// parseJSON reads a list of IDs and objects.
func parseJSON(data []byte, c *collector) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("line %d: it is not valid UTF-8: encode it so", lineOf(data, validPrefix(data)))
	}
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("line %d: it is not valid JSON: mend it: %w", lineOf(data, int(syntax.Offset)), err)
		}
		return errNoList
	}
	if items == nil { // null
		return errNoList
	}
	line, at := 1, bytes.IndexByte(data, '[')+1
	line += bytes.Count(data[:at], []byte("\n"))
	for _, raw := range items {
		for strings.IndexByte(" \t\r\n,", data[at]) >= 0 {
			if data[at] == '\n' {
				line++
			}
			at++
		}
		here := spot{"line", line}
		at += len(raw)
		line += bytes.Count(raw, []byte("\n"))
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		v, err := jsonValue(dec, 0)
		if err == nil {
			var p plan.Partition
			if p, err = parseItem(v); err == nil {
				c.add(here, p)
				continue
			}
		}
		c.fault(here, err)
	}
	return nil
}

var errNoList = errors.New("it is not a list: write one of IDs, or of objects with id, weight and labels; [] if there are no partitions")

// validPrefix is the length of what is valid UTF-8 at the beginning.
func validPrefix(data []byte) int {
	at := 0
	for {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n <= 1 {
			return at
		}
		at += n
	}
}

// lineOf is the line, from 1, in which the byte at an offset stands.
func lineOf(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(offset, len(data))], []byte("\n"))
}

// jsonValue reads one value, and refuses what json.Unmarshal lets pass: a name that an
// object has twice.
func jsonValue(dec *json.Decoder, depth int) (any, error) {
	const most = 3 // an item, its labels, and what is wrong in there
	if depth == most {
		return nil, errors.New("it is nested too deeply: write an ID, or an object with id, weight and labels")
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key, _ := name.(string) // names are strings, or the token is an error
			if _, twice := object[key]; twice {
				return nil, fmt.Errorf("it has %q twice: write it once", key)
			}
			if object[key], err = jsonValue(dec, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := dec.Token()
		return object, err
	case json.Delim('['):
		for dec.More() { // whatever is in it, it does not belong there
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return nil, err
			}
		}
		_, err := dec.Token()
		return []any{}, err
	}
	return token, nil
}

// parseYAML reads what a decoder makes of YAML.
func parseYAML(data []byte, decode func([]byte, any) error, c *collector) error {
	if data[len(data)-1] != '\n' {
		return errCut
	}
	if line := laterDocument(data); line > 0 {
		return fmt.Errorf("line %d: another document begins, and only the first would be read: write one list", line)
	}
	var v any
	if err := decode(data, &v); err != nil {
		return fmt.Errorf("it cannot be decoded: mend it: %w", err)
	}
	items, ok := v.([]any)
	if !ok {
		return errNoList
	}
	for i, item := range items {
		at := spot{"item", i + 1}
		p, err := parseItem(item)
		if err != nil {
			c.fault(at, err)
			continue
		}
		c.add(at, p)
	}
	return nil
}

// laterDocument is the line at which a second document of YAML begins, or 0. Decoders
// pass over it in silence. A marker stands at the beginning of a line, where no
// scalar may have it.
func laterDocument(data []byte) int {
	n, content, ended := 0, false, false
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimRight(line, " \t\r\n")
		marks := func(mark string) bool {
			rest, ok := bytes.CutPrefix(line, []byte(mark))
			return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t')
		}
		switch {
		case len(bytes.TrimLeft(line, " \t")) == 0, bytes.TrimLeft(line, " \t")[0] == '#':
		case marks("---"):
			if content {
				return n
			}
			content = true // also an empty document is one
		case marks("..."):
			ended = content
		case !content && line[0] == '%': // a directive
		case ended:
			return n
		default:
			content = true
		}
	}
	return 0
}

// parseItem makes a partition of an ID, or of an object with id, weight and labels.
func parseItem(v any) (plan.Partition, error) {
	var p plan.Partition
	switch v := v.(type) {
	case string:
		return plan.Partition{ID: v}, nil
	case map[string]any:
		id, ok := v["id"]
		if !ok {
			return p, errors.New("it has no id: give it one")
		}
		if p.ID, ok = id.(string); !ok {
			return p, fmt.Errorf("the id %s: write it in quotes", describe(id))
		}
		if err := parseFields(v, &p, "id, weight and labels"); err != nil {
			return p, fmt.Errorf("partition %q: %w", p.ID, err)
		}
		return p, nil
	case map[any]any:
		named, err := names(v)
		if err != nil {
			return p, err
		}
		return parseItem(named)
	default:
		return p, fmt.Errorf("it %s: write an ID in quotes, or an object with id, weight and labels", describe(v))
	}
}

// parseFields reads weight and labels. The id is the caller's.
func parseFields(v map[string]any, p *plan.Partition, known string) error {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		var err error
		switch field := v[name]; name {
		case "id":
		case "weight":
			p.Weight, err = weightOf(field)
		case "labels":
			p.Labels, err = labelsOf(field)
		default:
			err = fmt.Errorf("the field %q is unknown: use %s", name, known)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// weightOf makes a weight of what a decoder makes of a number.
func weightOf(v any) (int64, error) {
	const exact = 1 << 53 // up to here a float64 is every whole number
	switch v := v.(type) {
	case json.Number:
		return parseWeight(v.String())
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= exact {
			return int64(v), nil
		}
	}
	return 0, fmt.Errorf("the weight %s: write a whole number that fits into 64 bits, such as 5", describe(v))
}

func labelsOf(v any) (map[string]string, error) {
	if odd, ok := v.(map[any]any); ok {
		named, err := names(odd)
		if err != nil {
			return nil, err
		}
		v = named
	}
	all, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the field labels %s: write an object of strings", describe(v))
	}
	labels := make(map[string]string, len(all))
	for name, value := range all {
		if labels[name], ok = value.(string); !ok {
			return nil, fmt.Errorf("the label %q %s: write it in quotes", name, describe(value))
		}
	}
	return labels, nil
}

// names are the keys of a map as strings, where all are.
func names(v map[any]any) (map[string]any, error) {
	all := make(map[string]any, len(v))
	for key, value := range v {
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("the field name %s: write it in quotes", describe(key))
		}
		all[name] = value
	}
	return all, nil
}

// describe says what a value is that should be another.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "is empty"
	case string:
		return fmt.Sprintf("is the text %q", v)
	case bool:
		return fmt.Sprintf("is the truth value %t", v)
	case map[string]any, map[any]any:
		return "is an object"
	case []any:
		return "is a list"
	case json.Number, int, int64, uint64, float64:
		return fmt.Sprintf("is the number %v", v)
	default:
		return fmt.Sprintf("is a %T", v)
	}
}
