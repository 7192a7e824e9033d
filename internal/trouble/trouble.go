// Package trouble lets what is called tell its caller of what goes wrong and is tried
// again, where returning it would end the call.
package trouble

import "context"

type key struct{}

// Told returns a context whose trouble f is told of, from any goroutine.
func Told(ctx context.Context, f func(error)) context.Context {
	return context.WithValue(ctx, key{}, f)
}

// Tell tells of err whoever wants to know, and reports whether anybody does.
func Tell(ctx context.Context, err error) bool {
	f, ok := ctx.Value(key{}).(func(error))
	if ok {
		f(err)
	}
	return ok
}
