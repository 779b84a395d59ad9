package objecttest

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// azureTolerance is how far a request's date may be off.
const azureTolerance = 15 * time.Minute

// authenticate checks who asks. r has a shared access signature, or a header with a signature of the kind SharedKey.
func (a *Azure) authenticate(r *http.Request, op string) *azureError {
	if q := r.URL.Query(); q.Has("sig") {
		return a.checkSAS(r.URL, q, azurePermissions[op])
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	account, signature, _ := strings.Cut(given, ":")
	if scheme != "SharedKey" || signature == "" {
		return azureNoAuthentication
	}
	date, err := http.ParseTime(r.Header.Get("X-Ms-Date"))
	switch {
	case err != nil:
		return azureBadAuthentication
	case a.Now().Sub(date).Abs() > azureTolerance:
		return azureOldDate
	case account != a.opts.Account:
		return azureAuthenticationFailed
	}
	for _, compare := range []func(x, y string) int{strings.Compare, azureCollate} {
		if a.fits(signature, azureStringToSign(r, account, compare)) {
			return nil
		}
	}
	return azureAuthenticationFailed
}

func (a *Azure) fits(signature, text string) bool {
	mac := hmac.New(sha256.New, a.key)
	_, _ = mac.Write([]byte(text)) // a hash never fails
	given, err := base64.StdEncoding.DecodeString(signature)
	return err == nil && hmac.Equal(given, mac.Sum(nil))
}

// azureStringToSign is what the documentation of Shared Key says for the Blob service since 2015. It sorts headers by
// their names, but not by octets, as its clients know: compare is one of both orders.
func azureStringToSign(r *http.Request, account string, compare func(x, y string) int) string {
	length := r.Header.Get("Content-Length")
	if r.ContentLength > 0 {
		length = itoa(r.ContentLength)
	}
	if length == "0" {
		length = ""
	}
	lines := []string{r.Method, r.Header.Get("Content-Encoding"), r.Header.Get("Content-Language"), length}
	for _, name := range []string{"Content-Md5", "Content-Type", "Date", "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range"} {
		lines = append(lines, r.Header.Get(name))
	}
	names := make(map[string]string)
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			names[lower] = name
		}
	}
	for _, lower := range slices.SortedFunc(maps.Keys(names), compare) {
		lines = append(lines, lower+":"+strings.Join(r.Header[names[lower]], ","))
	}
	resource := "/" + account + r.URL.EscapedPath()
	q := r.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(q)) {
		resource += "\n" + strings.ToLower(name) + ":" + strings.Join(slices.Sorted(slices.Values(q[name])), ",")
	}
	return strings.Join(append(lines, resource), "\n")
}

// azureCollate compares as the service does: without hyphens, an underscore before digits, digits before letters.
func azureCollate(x, y string) int {
	rank := func(s string) string {
		return strings.Map(func(r rune) rune {
			switch r {
			case '-':
				return -1
			case '_':
				return ' '
			}
			return r
		}, s)
	}
	return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x, y))
}

// azurePermissions are what a shared access signature must permit for an operation.
var azurePermissions = map[string]string{"GetBlob": "r", "GetBlobProperties": "r", "PutBlob": "cw", "DeleteBlob": "d"}

// checkSAS checks a shared access signature of one blob. may holds the permissions of which it must have one.
func (a *Azure) checkSAS(u *url.URL, q url.Values, may string) *azureError {
	_, key := a.split(u.EscapedPath())
	resource := "/blob/" + a.opts.Account + "/" + a.opts.Container + "/" + key
	text := strings.Join([]string{
		q.Get("sp"), q.Get("st"), q.Get("se"), resource, q.Get("si"), q.Get("sip"), q.Get("spr"), q.Get("sv"), q.Get("sr"),
		"", q.Get("ses"), q.Get("rscc"), q.Get("rscd"), q.Get("rsce"), q.Get("rscl"), q.Get("rsct"),
	}, "\n")
	expiry, err := time.Parse(time.RFC3339, q.Get("se"))
	switch {
	case !a.fits(q.Get("sig"), text), q.Get("sr") != "b", err != nil, a.Now().After(expiry):
		return azureAuthenticationFailed
	case q.Get("spr") == "https" && a.identity.pem == "":
		return azureProtocolMismatch
	case may == "" || !strings.ContainsAny(q.Get("sp"), may):
		return azurePermissionMismatch
	}
	return nil
}
