package kv

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Match reports whether prefix stands for key. A prefix is whole tokens, so that
// a store can filter by it and a permission can name it:
//
//   - "" stands for every key;
//   - "session." for all keys below it, such as session.worker-7;
//   - "slice.worker-1" for that key and all keys below it, such as
//     slice.worker-1.2, but not for slice.worker-10.
func Match(prefix, key string) bool {
	rest, ok := strings.CutPrefix(key, prefix)
	switch {
	case !ok:
		return false
	case prefix == "" || prefix[len(prefix)-1] == '.':
		return rest != ""
	default:
		return rest == "" || rest[0] == '.'
	}
}

// Prune leaves out the prefixes that others cover, so that no key matches two.
// The result is a new slice.
func Prune(prefixes []string) []string {
	var kept []string
	for i, p := range prefixes {
		covered := false
		for j, q := range prefixes {
			if p == q {
				covered = covered || j < i
				continue
			}
			covered = covered || q == "" || strings.HasPrefix(p, strings.TrimSuffix(q, ".")+".")
		}
		if !covered {
			kept = append(kept, p)
		}
	}
	return kept
}

// CheckKey says what is wrong with a key, if anything: it is one or more tokens
// of letters, digits and "-_=/", joined by dots.
func CheckKey(key string) error {
	if key == "" || key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, "..") {
		return fmt.Errorf("key %q is not tokens joined by dots", key)
	}
	for _, r := range key {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-_=/.", r):
		default:
			return fmt.Errorf("key %q holds %q; letters, digits, and -_=/ are allowed", key, r)
		}
	}
	return nil
}

// CheckPrefix says what is wrong with a prefix, if anything: it is empty, or a key, with or
// without a dot at its end.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(strings.TrimSuffix(prefix, "."))
}

// CheckPrefixes is CheckPrefix for several.
func CheckPrefixes(prefixes []string) error {
	for _, p := range prefixes {
		if err := CheckPrefix(p); err != nil {
			return err
		}
	}
	return nil
}

// CheckIncarnation says what is wrong with an incarnation that a store is to be made anew
// under, if anything.
func CheckIncarnation(incarnation uint32) error {
	if incarnation == 0 || incarnation > MaxIncarnation {
		return fmt.Errorf("incarnation %d is not within 1 and %d", incarnation, MaxIncarnation)
	}
	return nil
}

// Check says what is wrong with a write before it is sent, if anything. Such a
// write is a mistake in the caller, and no store takes it.
func (w Write) Check() error {
	if err := CheckKey(w.Key); err != nil {
		return err
	}
	switch {
	case w.Remove && w.Last == 0:
		return fmt.Errorf("%s: a removal must name the revision that it removes", w.Key)
	case w.Remove && len(w.Value) > 0:
		return fmt.Errorf("%s: a removal has no value", w.Key)
	case w.TTL != 0 && (w.TTL < time.Second || w.TTL%time.Second != 0):
		return fmt.Errorf("%s: a TTL of %v is not whole seconds, at least one", w.Key, w.TTL)
	}
	return nil
}

// CheckCommit is Check for all writes of a commit together.
func CheckCommit(ws []Write) error {
	if len(ws) == 0 {
		return errors.New("a commit of nothing")
	}
	seen := make(map[string]struct{}, len(ws))
	for _, w := range ws {
		if err := w.Check(); err != nil {
			return err
		}
		if _, twice := seen[w.Key]; twice {
			return fmt.Errorf("%s: twice in one commit", w.Key)
		}
		seen[w.Key] = struct{}{}
	}
	return nil
}
