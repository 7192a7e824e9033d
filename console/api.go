package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/kv"
)

// The same structs as the command line's --json, each with a schema number.

func answer[T any](c *Console, w http.ResponseWriter, r *http.Request, f func(ctx context.Context) (T, error)) {
	defer c.feed.use()()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	data, err := f(ctx)
	if err != nil {
		c.fail(w, r, errorOf(err))
		return
	}
	writeJSON(w, http.StatusOK, data)
}

func (c *Console) apiSnapshot(w http.ResponseWriter, r *http.Request) {
	answer(c, w, r, func(ctx context.Context) (admin.Snapshot, error) {
		now, old, err := c.feed.snapshot(ctx)
		if err == nil && old != "" { // a program does not read between the lines
			err = fmt.Errorf("%w: %s", kv.ErrUnavailable, old)
		}
		return now, err
	})
}

func (c *Console) apiHistory(w http.ResponseWriter, r *http.Request) {
	answer(c, w, r, func(ctx context.Context) (admin.Decisions, error) {
		all := admin.Decisions{Schema: admin.Schema}
		q, err := queryOf(r)
		if err == nil {
			all.Decisions, err = c.decisions(ctx, q)
		}
		return all, err
	})
}

func (c *Console) apiExplain(w http.ResponseWriter, r *http.Request) {
	answer(c, w, r, func(ctx context.Context) (admin.Explanation, error) {
		return c.group.Explain(ctx, r.URL.Query().Get("partition"))
	})
}

func (c *Console) apiPlan(w http.ResponseWriter, r *http.Request) {
	answer(c, w, r, func(ctx context.Context) (admin.Outcome, error) {
		what, err := whatIf(r)
		if err != nil {
			return admin.Outcome{}, err
		}
		return c.group.Plan(ctx, what)
	})
}

func (c *Console) apiDoctor(w http.ResponseWriter, r *http.Request) {
	answer(c, w, r, func(ctx context.Context) (admin.Findings, error) {
		all, err := c.group.Doctor(ctx)
		return admin.Findings{Schema: admin.Schema, Findings: append([]admin.Finding{}, all...)}, err
	})
}

func writeJSON(w http.ResponseWriter, status int, data any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(data); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		fmt.Fprintf(&b, "{\"what\": %q}\n", err.Error())
	}
	send(w, status, "application/json", b.Bytes())
}

// wantsJSON reports whether a program asks, and not a browser.
func wantsJSON(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.Header.Get("Accept"), "application/json")
}

// errorOf says what to do about an error of the group.
func errorOf(err error) *Error {
	var (
		ours     *Error
		missing  *admin.NotFoundError
		denied   *kv.DeniedError
		conflict *admin.ConflictError
		refused  *admin.RefusedError
	)
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &missing):
		e := &Error{Status: http.StatusNotFound, What: fmt.Sprintf("there is no %s %q", missing.What, missing.Name)}
		if missing.Nearest != "" {
			e.Why = "did you mean " + missing.Nearest + "?"
		}
		if missing.Unnamed > 0 {
			e.Why = strings.TrimSpace(e.Why + " It may be among the partitions without an owner that no record names.")
		}
		return e
	case errors.Is(err, admin.ErrNoGroup):
		return &Error{Status: http.StatusNotFound, What: "there is no such group", Why: "its bucket is not there", Try: "start its first worker, or look at another server"}
	case errors.As(err, &conflict):
		return &Error{Status: http.StatusConflict, What: "nothing was changed", Why: conflict.Error(), Try: "look again, and decide anew"}
	case errors.As(err, &refused):
		return &Error{Status: http.StatusConflict, What: refused.What + " was refused", Why: refused.Why, Try: refused.Try}
	case errors.As(err, &denied):
		return &Error{Status: http.StatusForbidden, What: "this console's user of NATS may not do that", Why: denied.Error(), Try: "a user in the role of observer, or of operator to steer: parti permissions"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, kv.ErrUnavailable), errors.Is(err, kv.ErrUnknown):
		return &Error{Status: http.StatusServiceUnavailable, What: "the group cannot be reached", Why: err.Error(), Try: "is NATS up? The workers go on meanwhile"}
	default:
		return &Error{Status: http.StatusInternalServerError, What: "that did not work", Why: err.Error()}
	}
}
