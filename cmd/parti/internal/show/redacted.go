package show

import (
	"net/url"
	"strings"
)

// secret stands where a password or a token was.
const secret = "xxxxx"

// Redacted takes passwords and tokens out of a list of servers' URLs, joined by commas. Like
// the client it takes what has no scheme for nats://.
func Redacted(urls string) string {
	var all []string
	for one := range strings.SplitSeq(urls, ",") {
		all = append(all, redacted(strings.TrimSpace(one)))
	}
	return strings.Join(all, ",")
}

func redacted(one string) string {
	const scheme = "nats://"
	full, added := one, false
	if !strings.Contains(one, "://") {
		full, added = scheme+one, true
	}
	u, err := url.Parse(full)
	at := strings.LastIndex(one, "@") // a password may contain another
	switch {
	case at < 0:
		return one
	case err != nil || u.User == nil || !strings.HasPrefix(one[at+1:], u.Host): // such as a / in the password: what is before the host is not known
		return one[at+1:]
	}
	if _, has := u.User.Password(); !has {
		u.User = url.User(secret) // a user without a password is a token
	}
	text := u.Redacted()
	if added {
		text = strings.TrimPrefix(text, scheme)
	}
	return text
}
