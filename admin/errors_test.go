package admin

import "testing"

func TestRefusedError(t *testing.T) {
	for want, e := range map[string]RefusedError{
		"move p to w: w is cordoned by ann; try: uncordon it first": {What: "move p to w", Why: "w is cordoned by ann", Try: "uncordon it first"},
		"lift p: it is not quarantined":                             {What: "lift p", Why: "it is not quarantined"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
