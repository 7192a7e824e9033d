package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/internal/kv"
)

// A DeniedError says that the server forbids this user what it must do: its Op, "publish" or
// "subscribe", to its Subject. It is the same as natskv.DeniedError.
type DeniedError = kv.DeniedError

// allowed asks the server for each subject whether this user may publish to it. What is
// published there is for nobody, or says nothing.
//
// A server tells of a refusal on the connection, in order: what it has not refused when it
// answers a ping, it has let through.
func (c *core) allowed(ctx context.Context, subjects ...string) error {
	for _, subject := range subjects {
		m := nats.NewMsg(subject)
		m.Data = []byte("{}")
		if err := c.permits(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// permits publishes a message that does nothing.
func (c *core) permits(ctx context.Context, m *nats.Msg) error {
	nc := c.js.Conn()
	m.Reply = nc.NewInbox()
	return refused(ctx, nc, &DeniedError{Op: "publish", Subject: m.Subject}, m.Subject, func() error { return nc.PublishMsg(m) })
}

// hears says whether this user gets answers.
func (c *core) hears(ctx context.Context) error {
	nc := c.js.Conn()
	inbox := nc.NewInbox()
	return refused(ctx, nc, &DeniedError{Op: "subscribe", Subject: inbox[:strings.LastIndexByte(inbox, '.')] + ".>"}, inbox, func() error {
		sub, err := nc.SubscribeSync(inbox)
		if err != nil {
			return err
		}
		return sub.Unsubscribe()
	})
}

// refused does something, and returns denied if the server has refused the subject.
func refused(ctx context.Context, nc *nats.Conn, denied *DeniedError, subject string, do func() error) error {
	_, err := ask(ctx, func(ctx context.Context) (struct{}, error) {
		before := nc.LastError()
		if err := do(); err != nil {
			return struct{}{}, err
		}
		if err := nc.FlushWithContext(ctx); err != nil {
			return struct{}{}, err
		}
		err := nc.LastError()
		if err != before && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+subject+`"`) { //nolint:errorlint // is it that very one
			return struct{}{}, denied
		}
		return struct{}{}, nil
	})
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*DeniedError)):
		return fmt.Errorf("consumer: %w", err)
	}
	return fmt.Errorf("consumer: see whether %s is permitted: %w", denied.Subject, err)
}

// api is where JetStream takes requests.
func (c *core) api() string {
	switch o := c.js.Options(); {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	default:
		return "$JS.API."
	}
}

// nobody is the name of a consumer that there is not: no partition's ID is made into it.
const nobody = "~nobody"

// needs are the subjects that a worker of a Durable publishes to, beside that which tells
// of the stream, or those of its provisioner.
func (d *Durable) needs() []string {
	if d.opts.provision {
		return append(d.sweeps(), d.api()+"CONSUMER.NAMES."+d.name)
	}
	api, name := d.api(), d.group+nobody
	all := []string{api + "CONSUMER.INFO." + d.name + "." + name}
	if d.opts.create {
		all = d.makes()
	}
	all = append(all, api+"CONSUMER.MSG.NEXT."+d.name+"."+name)
	if usual(d.js) {
		all = append(all, api+"STREAM.MSG.GET."+d.name, "$JS.ACK."+d.name+"."+name+".1.1.1.0.0")
	}
	return all
}

// makes are the subjects by which consumers are made.
func (d *Durable) makes() []string {
	api, name := d.api(), d.group+nobody
	return []string{
		api + "CONSUMER.INFO." + d.name + "." + name,
		api + "CONSUMER.CREATE." + d.name + "." + name + "." + strings.Replace(string(d.subject), placeholder, nobody[1:], 1),
	}
}

// sweeps are the subjects that Sweep publishes to.
func (d *Durable) sweeps() []string {
	return append(d.makes(), d.api()+"STREAM.MSG.GET."+d.name, d.api()+"CONSUMER.LIST."+d.name, d.api()+"CONSUMER.DELETE."+d.name+"."+d.group+nobody)
}

// needs are the subjects that a worker of a Cursor publishes to, beside those that tell of
// the stream and of the bucket.
func (c *Cursor) needs() []string {
	api, name := c.api(), c.group+nobody
	return []string{
		api + "CONSUMER.CREATE." + c.name + "." + name,
		api + "CONSUMER.MSG.NEXT." + c.name + "." + name,
		api + "CONSUMER.DELETE." + c.name + "." + name,
		api + "STREAM.MSG.GET.KV_" + c.opts.bucket,
	}
}
