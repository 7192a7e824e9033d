package console_test

import (
	"net/http"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/console"
)

// A console below a prefix, behind what guards the rest of a service.
func ExampleNew() { //nolint:testableexamples // what it serves takes a server
	var store parti.Store // natskv.Open makes one
	c := console.New(admin.Open(store), "orders", console.WithWho(func(r *http.Request) string { return r.Header.Get("X-User") }))
	defer c.Close()
	mux := http.NewServeMux()
	mux.Handle("/parti/", http.StripPrefix("/parti", c))
}
