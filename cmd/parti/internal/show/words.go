package show

import (
	"fmt"
	"time"

	"github.com/parti-go/parti/admin"
)

// Number writes a count for people, in groups of three digits: 1 024.
func Number[N ~int | ~int64 | ~uint64](n N) string {
	text, sign := fmt.Sprint(n), ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return sign + text
}

// Plural is a count and its noun: 1 worker, 12 workers.
func Plural[N ~int | ~int64 | ~uint64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return Number(n) + " " + one + "s"
}

// Zone is where who reads is: people compare times with the clock on their wall.
var Zone = time.Local //nolint:gosmopolitan // just that

// Until says when that is to be, in [Zone].
func Until(now, at time.Time) string { return admin.Until(now.In(Zone), at) }
