package admin

import (
	"encoding/json"
	"testing"
)

// A program can read what parti check --format json writes.
func TestLevelIsRead(t *testing.T) {
	for _, level := range []Level{OK, Warning, Critical, Unknown} {
		text, err := json.Marshal(Health{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		var h Health
		if err := json.Unmarshal(text, &h); err != nil || h.Level != level {
			t.Errorf("%s is read as %v, error %v", text, h.Level, err)
		}
	}
	if err := new(Level).UnmarshalText([]byte("fine")); err == nil {
		t.Error("there is no such level")
	}
}
