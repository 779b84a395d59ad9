package objecttest

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the protocol's choice
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An atmosError is an error that the server tells.
type atmosError struct {
	status int
	code   int
	text   string
}

// The errors.
var (
	atmosArgument  = &atmosError{400, 1002, "One or more arguments in the request were invalid."}
	atmosMissing   = &atmosError{404, 1003, "The requested object was not found."}
	atmosRange     = &atmosError{416, 1004, "The specified range cannot be satisfied."}
	atmosExists    = &atmosError{400, 1016, "The resource you are trying to create already exists."}
	atmosNotEmpty  = &atmosError{400, 1023, "The directory you are attempting to delete is not empty."}
	atmosSignature = &atmosError{403, 1032, "There was a mismatch between the signature in the request and the signature as computed by the server."}
	atmosNoUser    = &atmosError{403, 1033, "Unable to retrieve the secret key for the specified user."}
	atmosRetained  = &atmosError{403, 2003, "The object is under retention and may not be modified or deleted."}
	atmosChecksum  = &atmosError{400, 1002, "The checksum of the content differs from the one given."}
)

// fail answers with e. HEAD has no body.
func (a *Atmos) fail(w http.ResponseWriter, r *http.Request, e *atmosError) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(e.status)
	if r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?>\n<Error%s><Code>%d</Code><Message>%s</Message></Error>", a.xmlns(), e.code, e.text) // the client has gone
	}
}

func (a *Atmos) xmlns() string {
	if a.opts.NoXMLNamespace {
		return ""
	}
	return ` xmlns="http://www.emc.com/cos/"`
}

// atmosWindow is how far a request's date may be off.
const atmosWindow = 15 * time.Minute

// check refuses a request that is not signed as it must be.
func (a *Atmos) check(r *http.Request) *atmosError {
	if q := r.URL.Query(); q.Has("signature") {
		return a.checkShared(r, q.Get("uid"), q.Get("expires"), q.Get("signature"))
	}
	if r.Header.Get("X-Emc-Uid") != a.opts.UID {
		return atmosNoUser
	}
	date, err := http.ParseTime(r.Header.Get("X-Emc-Date"))
	if err != nil || r.Header.Get("Date") != r.Header.Get("X-Emc-Date") || a.Now().Sub(date).Abs() > atmosWindow || !a.fits(r.Header.Get("X-Emc-Signature"), atmosText(r)) {
		return atmosSignature
	}
	return nil
}

func (a *Atmos) fits(signature, text string) bool {
	h := hmac.New(sha1.New, a.key)
	_, _ = h.Write([]byte(text)) // a hash never fails
	got, err := base64.StdEncoding.DecodeString(signature)
	return err == nil && hmac.Equal(got, h.Sum(nil))
}

// checkShared checks a shareable URL.
func (a *Atmos) checkShared(r *http.Request, uid, expires, signature string) *atmosError {
	until, err := strconv.ParseInt(expires, 10, 64)
	text := "GET\n" + strings.ToLower(r.URL.Path) + "\n" + uid + "\n" + expires
	switch {
	case r.Method != http.MethodGet, len(r.URL.Query()) != 3, err != nil:
		return atmosArgument
	case uid != a.opts.UID:
		return atmosNoUser
	case a.Now().Unix() > until, !a.fits(signature, text):
		return atmosSignature
	}
	return nil
}

// atmosText is what a request's signature is of.
func atmosText(r *http.Request) string {
	var custom []string
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-emc") && name != "x-emc-signature" {
			custom = append(custom, name+":"+strings.Join(strings.Fields(strings.Join(values, ",")), " "))
		}
	}
	slices.Sort(custom) // a ':' is behind all that names consist of, but none of ours begins another
	resource := strings.ToLower(r.URL.Path)
	if r.URL.RawQuery != "" {
		resource += "?" + r.URL.RawQuery
	}
	h := r.Header
	return strings.Join([]string{r.Method, h.Get("Content-Type"), h.Get("Range"), h.Get("Date"), resource, strings.Join(custom, "\n")}, "\n")
}

// atmosHeaders are the x-emc headers that each operation knows, besides those of the signature.
var atmosHeaders = map[string][]string{
	"CreateObject":  {"X-Emc-Meta", "X-Emc-Listable-Meta", "X-Emc-Useracl", "X-Emc-Groupacl", "X-Emc-Wschecksum", "X-Emc-Retention-Period"},
	"Rename":        {"X-Emc-Path", "X-Emc-Force"},
	"SetMetadata":   {"X-Emc-Meta"},
	"ListDirectory": {"X-Emc-Limit", "X-Emc-Token", "X-Emc-Include-Meta"},
}

// knows refuses headers that the operation does not have.
func (a *Atmos) knows(op string, h http.Header) *atmosError {
	for name := range h {
		switch {
		case !strings.HasPrefix(name, "X-Emc-"), name == "X-Emc-Date", name == "X-Emc-Uid", name == "X-Emc-Signature":
		case !slices.Contains(atmosHeaders[op], name):
			return atmosArgument
		}
	}
	return nil
}
