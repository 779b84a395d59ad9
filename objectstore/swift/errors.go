package swift

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

// Statuses that only Swift has.
const (
	statusRateLimit    = 498 // the middleware ratelimit
	statusClientClosed = 499 // the proxy thinks that we have gone
)

// statusError makes the error of a refusal. What 404, 409 and 412 mean depends on the request: see the verbs.
func statusError(status int, h http.Header, text string) *connection.Error {
	e := httpx.StatusError(status, h, "", plain(text))
	switch status {
	case http.StatusUnauthorized:
		e.Hint = "identity: the storage does not accept the token that the identity service gave"
	case http.StatusForbidden:
		e.Hint = "identity: this user has no rights for that in the container (bucket) or its account"
	case http.StatusBadRequest:
		switch {
		case strings.Contains(text, "metadata") || strings.Contains(text, "Metadata"):
			e.Kind = connection.ErrTooLarge // check_metadata of the proxy: too long, too many, too much
		case strings.Contains(text, "Object name length"):
			e.Kind, e.Code = connection.ErrUnsupported, objectstore.InvalidKey
		}
	case http.StatusRequestEntityTooLarge:
		switch {
		case strings.Contains(text, "quota"):
			e.Kind = connection.ErrQuota // container_quotas, account_quotas
			e.Hint = "bucket: the quota of the container or its account is used up"
		case e.RetryAfter > 0:
			e.Kind = connection.ErrThrottled // Rackspace: "OverLimit"
		}
	case statusRateLimit:
		e.Kind = connection.ErrThrottled
	case statusClientClosed:
		e.Kind = connection.ErrNetwork
	}
	return e
}

var tags = regexp.MustCompile(`<[^>]*>`)

// plain drops the markup of Swift's error pages.
func plain(text string) string { return tags.ReplaceAllString(text, " ") }

// code returns the status of an error that the server sent, "" of another.
func code(err error) string {
	var e *connection.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// kindFor gives the error of a refusal the Kind that its status means for the request made.
func kindFor(err error, status string, kind connection.Kind) error {
	var e *connection.Error
	if code(err) != status || !errors.As(err, &e) {
		return err
	}
	again := *e
	again.Kind = kind
	return &again
}

// inDoubt gives the failure of a server that was to make an object visible its true Kind: a gateway does not know what the
// cluster has done, nor a proxy that too few of the object servers have answered. 501 and 507 are refusals, and stay.
func inDoubt(err error) error {
	if connection.KindOf(err) != connection.ErrUnavailable {
		return err
	}
	return kindFor(err, code(err), connection.ErrUncertain)
}

// missing decides what a 404 is about, which it does not say: the object or the container.
func (b *backend) missing(ctx context.Context, err error) error {
	if connection.KindOf(err) != connection.ErrNotFound {
		return err
	}
	a, asked := b.send(ctx, &request{method: http.MethodHead, container: b.place.container})
	switch connection.KindOf(asked) {
	case connection.ErrNotFound:
		return b.noContainer(asked)
	case connection.ErrPermission:
		return err // who may read objects need not be allowed to look at the container
	}
	if asked != nil {
		return asked
	}
	a.discard()
	return err
}

// noContainer is the error for a container that is not there.
func (b *backend) noContainer(err error) error {
	return &connection.Error{
		Kind: connection.ErrConfig, Code: code(err), Err: errors.New("there is no container " + b.place.container),
		Hint: "bucket: create the container " + b.place.container + " first, or correct Bucket UID; it is never created by itself",
	}
}
