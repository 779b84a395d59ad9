package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/auth"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

// maxDocument is how many octets of an answer are kept in memory: a page of 1,000 keys with every character escaped.
const maxDocument = 16 << 20

// A target is a place with the client that speaks to it.
type target struct {
	place
	client *sdk.Client
}

// newTarget makes the client for p. The library neither retries, nor reads the environment, nor adds checksums that many
// servers do not know, nor sets its clock by what a server says.
func (b *backend) newTarget(p place) *target {
	noExpress := true
	return &target{p, sdk.New(sdk.Options{
		Region:             p.region,
		Credentials:        b.keys,
		HTTPClient:         wire{b.http.Transport()},
		Retryer:            aws.NopRetryer{},
		EndpointResolverV2: resolver{p.url()},
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			_, err := stack.Finalize.Swap(payloadHash{}.ID(), payloadHash{always: b.cfg.UnsignedPayload == UnsignedAlways, tls: p.scheme == "https"})
			if _, found := stack.Finalize.Get(acceptEncodingStep); found && err == nil {
				_, err = stack.Finalize.Remove(acceptEncodingStep)
			}
			return err
		}},
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
		DisableS3ExpressSessionAuth:               &noExpress,
		DisableClockSkewCorrection:                true,
	})}
}

// acceptEncodingStep is the library's step that sets Accept-Encoding before the request is signed. The front ends of Google
// Cloud Storage, and Cloudflare's, write another value into that header, by which the signature no longer fits: wire sets it,
// unsigned.
const acceptEncodingStep = "DisableAcceptEncodingGzip"

// A resolver knows where the bucket is.
type resolver struct{ bucket url.URL }

// ResolveEndpoint implements sdk.EndpointResolverV2. The library changes what it is given, so that each call makes it anew.
func (r resolver) ResolveEndpoint(context.Context, sdk.EndpointParameters) (smithyendpoints.Endpoint, error) {
	signing := &auth.Option{SchemeID: auth.SchemeIDSigV4}
	// S3 signs the path as it is sent; other services escape it once more (IAM user guide, "Create a signed request").
	smithyhttp.SetDisableDoubleEncoding(&signing.SignerProperties, true)
	endpoint := smithyendpoints.Endpoint{URI: r.bucket, Headers: http.Header{}}
	auth.SetAuthOptions(&endpoint.Properties, []*auth.Option{signing})
	return endpoint, nil
}

// payloadHash decides what the signature says of the body: nothing over TLS, else the digest that is known already.
type payloadHash struct{ always, tls bool }

// ID is that of the library's own step, which this one replaces.
func (payloadHash) ID() string { return "ComputePayloadHash" }

// HandleFinalize implements middleware.FinalizeMiddleware.
func (h payloadHash) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	x := exchangeOf(ctx)
	switch {
	case x == nil, x.octets && (h.tls || h.always): // nil: a URL is made for a body that nobody knows yet
		ctx = v4.SetPayloadHash(ctx, "UNSIGNED-PAYLOAD")
	case x.sha256 != "":
		ctx = v4.SetPayloadHash(ctx, x.sha256)
	}
	return (&v4.ComputePayloadSHA256{}).HandleFinalize(ctx, in, next)
}

// An exchange is one request and what became of it. The library hands errors on as text: here they keep their form.
type exchange struct {
	root   string // element that the answer consists of; "" = an answer is of no interest, but for its headers
	body   bool   // the answer is an object's octets
	octets bool   // the request carries an object's octets
	sha256 string // of the request's body, in hex, if known
	// decides says that the request makes an object visible: a success that cannot be read, and a server that gave up
	// half-way, leave that in doubt.
	decides bool

	answer *answer // an error of the server's
	err    error
	passed bool // the library has a success to read
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// An answer is an error that the server told.
type answer struct {
	status int
	header http.Header
	xmlError
}

// xmlError is the body of an error (S3 API reference, "REST error responses").
type xmlError struct {
	XMLName  xml.Name `xml:"Error"`
	Code     string   `xml:"Code"`
	Message  string   `xml:"Message"`
	Region   string   `xml:"Region"`
	Endpoint string   `xml:"Endpoint"`
	Header   string   `xml:"Header"`
}

const userAgent = "mailconn"

// wire is the library's way to the network. An answer that is an error does not get as far as the library.
type wire struct{ rt http.RoundTripper }

// Do implements sdk.HTTPClient.
func (w wire) Do(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	r.Header.Set("User-Agent", userAgent)       // the library's tells much of the machine, also of its environment
	r.Header.Set("Accept-Encoding", "identity") // else a transport of the host may ask for gzip, and unpack it
	resp, err := w.rt.RoundTrip(r)              //nolint:bodyclose // whoever gets it, the library or receive, closes it
	if err == nil {
		err = x.receive(r, resp)
	}
	if err != nil {
		x.err = err
		return nil, err
	}
	x.passed = true
	return resp, nil
}

// unreadable returns the error of a success that makes no sense.
func (x *exchange) unreadable(err error) error {
	if x.decides {
		return &connection.Error{Kind: connection.ErrUncertain, Err: err}
	}
	return &connection.Error{Kind: connection.ErrProtocol, Err: err}
}

// receive reads an answer as far as the library is to have it in memory, and returns the error that it holds.
func (x *exchange) receive(r *http.Request, resp *http.Response) error {
	switch {
	case resp.StatusCode >= 300:
		raw := httpx.ReadLimited(resp.Body)
		_ = resp.Body.Close() // read as far as it is wanted
		return x.refused(resp, raw)
	case x.body && resp.StatusCode == http.StatusPartialContent && resp.Header.Get("Content-Range") == "":
		_ = resp.Body.Close() // nothing of it is wanted
		return &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the server answers with a part of the object, and does not tell which")}
	case x.body:
		return nil
	case x.root == "":
		// What comes with the answer to PUT or DELETE says nothing. Reading it lets the connection be used again.
		_ = httpx.ReadLimited(resp.Body)
		_ = resp.Body.Close() // as above
		resp.Body = http.NoBody
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(progress{resp.Body, r.Context()}, maxDocument+1))
	_ = resp.Body.Close() // as above
	switch {
	case err != nil && r.Context().Err() != nil:
		return r.Context().Err()
	case err != nil && r.Method == http.MethodGet:
		return &connection.Error{Kind: connection.ErrNetwork, Err: fmt.Errorf("the answer breaks off: %w", err)}
	case err != nil:
		return &connection.Error{Kind: connection.ErrUncertain, Err: fmt.Errorf("the answer breaks off: %w", err)}
	case len(raw) > maxDocument:
		return x.unreadable(fmt.Errorf("an answer of more than %d octets", maxDocument))
	}
	root, err := rootOf(raw)
	switch {
	case err != nil:
		return x.unreadable(fmt.Errorf("want a document %s: %w", x.root, err))
	case root == "Error":
		// S3 answers 200 before it knows, and tells in the body (CompleteMultipartUpload, CopyObject).
		return x.refused(resp, raw)
	case root != x.root:
		return x.unreadable(fmt.Errorf("want a document %s, got %w", x.root, otherRoot(root)))
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

// An otherRoot is the name of a document that is not the one that was asked for.
type otherRoot string

// Error implements error.
func (r otherRoot) Error() string { return fmt.Sprintf("%.40q", string(r)) }

// refused notes an error that the server tells.
func (x *exchange) refused(resp *http.Response, raw []byte) error {
	x.answer = &answer{status: resp.StatusCode, header: resp.Header}
	if xml.Unmarshal(raw, &x.answer.xmlError) != nil {
		x.answer.xmlError = xmlError{} // a proxy's page, say: the status speaks
	}
	e := x.answer.error(resp.Request.Method, raw)
	if x.decides && httpx.Doubtful(x.answer.status) && e.Kind == connection.ErrUnavailable {
		e.Kind = connection.ErrUncertain // InternalError: the object may be there
	}
	return e
}

// maxDepth is how deep elements of an answer may be nested. The deepest that S3 knows has five.
const maxDepth = 100

// rootOf returns the name of a document's element, and an error if the document is not whole.
func rootOf(raw []byte) (root string, err error) {
	d := xml.NewDecoder(bytes.NewReader(raw))
	for depth := 0; ; {
		token, err := d.RawToken()
		switch {
		case err == io.EOF && root != "" && depth == 0: //nolint:errorlint // only the bare one is the end
			return root, nil
		case err == io.EOF: //nolint:errorlint // as above
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return "", fmt.Errorf("elements nested more than %d deep", maxDepth)
			}
			if root == "" {
				root = token.Name.Local
			}
		case xml.EndElement:
			depth--
		}
	}
}

// progress tells the Store that an answer moves.
type progress struct {
	r   io.Reader
	ctx context.Context //nolint:containedctx // that of one attempt
}

func (p progress) Read(buf []byte) (int, error) {
	n, err := p.r.Read(buf)
	objectstore.Progress(p.ctx)
	return n, err
}

// do makes a request. If the server says that the bucket is in another region, or for the moment elsewhere, it makes a
// second one there, and remembers the region; likewise with new keys if those that Config.Keys gave have expired.
func (b *backend) do(ctx context.Context, x exchange, ask func(ctx context.Context, c *sdk.Client) error) error {
	t := b.target.Load()
	a, err := b.once(ctx, t, x, ask)
	if a == nil {
		return err
	}
	next := b.follow(t, a)
	if b.cfg.Keys != nil && (a.Code == "ExpiredToken" || a.Code == "InvalidToken" || a.Code == "TokenRefreshRequired") {
		b.keys.Invalidate()
		next = t
	}
	if next == nil {
		return err
	}
	_, err = b.once(ctx, next, x, ask)
	return err
}

func (b *backend) once(ctx context.Context, t *target, x exchange, ask func(ctx context.Context, c *sdk.Client) error) (*answer, error) {
	err := ask(context.WithValue(ctx, exchangeKey{}, &x), t.client)
	var known *connection.Error
	switch {
	case err == nil:
		return nil, nil
	case x.err != nil:
		err = x.err
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, errKeys):
		err = &connection.Error{Kind: connection.ErrAuth, Err: err, Hint: "the program's source of keys gives none"}
	case errors.As(err, &known):
	case x.passed:
		err = x.unreadable(err)
	default:
		err = &connection.Error{Kind: connection.ErrProtocol, Err: err}
	}
	return x.answer, b.hint(t, x.answer, err)
}

// follow returns where the request is to be made instead, nil if there is no such place.
func (b *backend) follow(t *target, a *answer) *target {
	if a.status == http.StatusTemporaryRedirect {
		return b.elsewhere(t, a.header.Get("Location"))
	}
	region := a.region()
	if region == "" || region == t.region || !a.misdirected() {
		return nil
	}
	next := b.newTarget(t.in(region))
	b.target.Store(next)
	b.env.Emit(connection.Event{
		Kind: connection.EventQuirk, Connection: b.eventID(),
		Detail: fmt.Sprintf("the bucket is in region %s, not in %s: set region, or location, to save a request", region, t.region),
	})
	return next
}

// elsewhere returns the place that a temporary redirect names, if it may be followed: with the same scheme, to the same
// host or another of Amazon's. The host in front of which the bucket stands is the bucket's own.
func (b *backend) elsewhere(t *target, location string) *target {
	to, err := url.Parse(location)
	if err != nil || to.Scheme != t.scheme || to.User != nil || to.Host == "" {
		return nil
	}
	p, from := t.place, t.url()
	bare := place{bucket: p.bucket}
	if err := bare.locate(to.Scheme+"://"+to.Host, ""); err != nil {
		return nil
	}
	if to.Hostname() != from.Hostname() && (!p.aws || !bare.aws && !awsSubdomain(to.Hostname())) {
		return nil
	}
	p.host, p.path = bare.host, bare.host == to.Host
	if bare.region != "" {
		p.region = bare.region
	}
	return b.newTarget(p)
}

func awsSubdomain(host string) bool {
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}
