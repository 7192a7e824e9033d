package source

import (
	"reflect"
	"strings"
	"testing"

	"github.com/parti-go/parti/plan"
)

func TestParseValue(t *testing.T) {
	for data, want := range map[string]plan.Partition{
		"":                        {ID: "k"},
		" 5\n":                    {ID: "k", Weight: 5},
		"{}":                      {ID: "k"},
		`{"weight": 7}`:           {ID: "k", Weight: 7},
		` {"labels": {"a": "b"}}`: {ID: "k", Labels: map[string]string{"a": "b"}},
	} {
		if p, err := parseValue("k", []byte(data)); err != nil || !reflect.DeepEqual(p, want) {
			t.Errorf("%q: %v, %v", data, p, err)
		}
	}
	for data, want := range map[string]string{
		"five":              `the weight "five" is not a whole number`,
		`{"weight": 7`:      "its value is not valid JSON",
		`{"weight": 7} 8`:   "its value is not valid JSON",
		`{"id": "k"}`:       "its value has an id",
		`{"wieght": 7}`:     `the field "wieght" is unknown: use weight and labels`,
		`{"labels": "a"}`:   "write an object of strings",
		"{\"a\": \"\xff\"}": "not valid UTF-8",
	} {
		if _, err := parseValue("k", []byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", data, err, want)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, s := range []string{"", "5", `{"weight": 5, "labels": {"k": "v"}}`, `{"a": {"b": {"c": 1}}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		if p, err := parseValue("k", []byte(data)); err == nil && p.ID != "k" {
			t.Errorf("%v", p)
		}
	})
}
