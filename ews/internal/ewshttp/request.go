package ewshttp

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A Body is what a request carries. Open is called once for each time that the body has to be sent, and every reader gives the
// same Len octets.
type Body interface {
	Len() int64
	Open() io.Reader
}

// A Request is one HTTP request. It is not changed by the Client, and not to be changed while it is under way.
type Request struct {
	Method      string // "" = POST
	URL         *url.URL
	Op          string // what it asks for, in traces and errors: "GetItem"
	Header      http.Header
	ContentType string // "" = text/xml; charset=utf-8 if there is a body
	Body        Body   // nil = none. Content-Length is always sent, chunks never

	// Mailbox is the SMTP address that X-AnchorMailbox names; "" = the account's own, if it is an address.
	Mailbox string
	// Jar names the cookie jar if it is not Mailbox's: mailboxes that share a server's affinity share a jar.
	Jar string
	// Owner is whose budget the request uses; "" = the account's.
	Owner string

	Write     bool // it has a slot of its own, so that it need not wait for replies that are being read
	Stream    bool // the reply goes on for minutes: it takes no slot, and Do returns with its header
	Safe      bool // it may be carried out twice: a lost reply is then ErrNetwork instead of ErrUncertain
	Patient   bool // wait however long a server asks for, instead of ErrThrottled when that is more than a minute
	Gzip      bool // the reply may come compressed. What Body gives never is
	Anonymous bool // neither credentials nor cookies nor the mailbox's name are sent. Only such a request may use http under mode tls

	// AnyStatus hands out every answer as it is, but for a 401 after the last login that may be tried.
	AnyStatus bool
	// Tentative says that another server may accept the credential: a refusal counts, but by itself does not end the trying.
	Tentative bool

	// NoData replaces Options.NoDataTimeout; negative = none.
	NoData time.Duration
}

// A Response is an answer to be read: of status 200, or of status 500 if it holds XML, whose content decides what it means. With
// Request.AnyStatus it is any answer.
type Response struct {
	Status int
	Header http.Header
	URL    *url.URL // where it came from: http where https was not to be had under mode tls-when-available

	// Body is the answer, decompressed. It holds a slot of the budget and the connection until it is closed or read to its
	// end; read to its end, the connection can be used again. Read ends in io.EOF, or in a *connection.Error: ErrTimeout if
	// nothing came for the no-data timeout, ErrNetwork if the connection broke, or for a request that is not Safe
	// ErrUncertain. Time in which nobody reads does not count. Close never waits long.
	Body io.ReadCloser
}

// Do sends r and returns its answer once the header is there. It waits for the owner's budget and while a server has asked
// everybody to wait.
//
// Every answer that is not a Response is a *connection.Error: ErrAuth after all that may be tried, and then at once for every
// later request until [Client.Reset]; ErrThrottled, ErrUnavailable with the wait that the server asks for, which holds for all
// requests of this owner; ErrProtocol with a Hint for a web page; ErrUncertain for a request that was sent whole, has no answer
// and is not Safe. The end of ctx is in the chain of the error as ctx.Err().
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	return c.do(ctx, r)
}

// Busy tells that a server has said in a reply's body that r came too soon: everything of r's owner at that host waits for d,
// which is taken as at least a second and at most an hour; 0 means that the server gave no time, and each time in a row the wait
// grows. With concurrency fewer requests are made at once from now on. It returns the wait.
func (c *Client) Busy(r *Request, d time.Duration, concurrency bool) time.Duration {
	return c.limiter.busy(c.key(r), d, concurrency)
}

// Forget drops the cookies of r's jar: the server that they lead to does not answer well.
func (c *Client) Forget(r *Request) { c.jars.drop(r.jar()) }

// Liveness is what a server answers to somebody unknown.
type Liveness struct {
	Status  int
	Schemes []string // of WWW-Authenticate: "Negotiate", "NTLM", "Basic realm=…" without what follows the name
	Alive   bool     // it answers as an EWS endpoint does: 200, 401, 405 or 500 without a web page of another kind
	HTML    bool     // a web page came where none belongs: a login form, a proxy
	TLS     string   // protocol version; "" without TLS
	Server  string   // the header Server
}
