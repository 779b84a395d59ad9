package ewshttp

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/mailconn/mailconn/connection"
)

type (
	wires    struct{}
	login    struct{}
	tokens   struct{}
	limiter  struct{}
	jars     struct{}
	sessions struct{}
	warned   struct{}
	key      struct{}
)

func (wires) close()           {}
func (*sessions) close()       {}
func (*tokens) init(*Client)   {}
func (*limiter) init(*Client)  {}
func (*login) reset()          {}
func (*jars) drop(string)      {}
func (r *Request) jar() string { return r.Mailbox }

func newLogin(*Client) *login                                { return &login{} }
func (*Client) newWires() (wires, error)                     { return wires{}, nil }
func (*Client) key(*Request) key                             { return key{} }
func (*limiter) busy(key, time.Duration, bool) time.Duration { return 0 }

func (c *Client) do(context.Context, *Request) (*Response, error) {
	return nil, c.fail(connection.ErrUnsupported, "", "", "no requests yet")
}

// Probe asks u with GET, without credentials.
func (c *Client) Probe(context.Context, *url.URL) (Liveness, error) {
	return Liveness{}, c.fail(connection.ErrUnsupported, "", "", "no requests yet")
}

func (c *Client) config(format string, args ...any) *connection.Error {
	return c.fail(connection.ErrConfig, "", "", format, args...)
}

func (c *Client) fail(kind connection.Kind, endpoint, hint, format string, args ...any) *connection.Error {
	return &connection.Error{Driver: c.opts.Driver, Endpoint: endpoint, Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}
