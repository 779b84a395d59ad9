package objecttest

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An s3Error is the answer to a request that is refused.
type s3Error struct {
	status  int
	code    string
	message string
	header  map[string]string
	inside  string // further elements of the document
}

func s3Refuse(status int, code, message string) *s3Error {
	return &s3Error{status: status, code: code, message: message}
}

const s3Algorithm = "AWS4-HMAC-SHA256"

// An s3Signature is what a request claims of itself: in the header Authorization, or in its query.
type s3Signature struct {
	key, day, region string
	signed           []string // names of headers, lower case
	signature        string
	date             string
	query            bool
}

// authorize checks who sent r and that nobody has changed it (S3 API reference, "Authenticating requests (AWS signature
// version 4)").
func (s *S3) authorize(r *http.Request) *s3Error {
	sig, refusal := readSignature(r)
	if refusal != nil {
		return refusal
	}
	at, err := time.Parse("20060102T150405Z", sig.date)
	if err != nil || sig.day != at.Format("20060102") {
		return s3Refuse(http.StatusForbidden, "AccessDenied", "the date is none, or not that of the credential")
	}
	if refusal := s.inTime(r, sig, at); refusal != nil {
		return refusal
	}
	if sig.key != s.opts.AccessKey {
		status := http.StatusForbidden
		if s.opts.UnknownKeyIs404 {
			status = http.StatusNotFound
		}
		return s3Refuse(status, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	if sig.region != s.opts.Region {
		return s.elsewhere(sig.region)
	}
	if token := cmp.Or(r.Header.Get("X-Amz-Security-Token"), r.URL.Query().Get("X-Amz-Security-Token")); token != s.opts.SessionToken {
		return s3Refuse(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	}
	for name := range r.Header {
		if name := strings.ToLower(name); (strings.HasPrefix(name, "x-amz-") || name == "content-md5") && !slices.Contains(sig.signed, name) {
			return s3Refuse(http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed: "+name)
		}
	}
	if !hmac.Equal([]byte(s.sign(r, sig)), []byte(sig.signature)) {
		return s3Refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

// elsewhere answers a request for another region.
func (s *S3) elsewhere(region string) *s3Error {
	e := &s3Error{
		status: http.StatusBadRequest, code: "AuthorizationHeaderMalformed",
		message: fmt.Sprintf("The authorization header is malformed; the region '%s' is wrong; expecting '%s'", region, s.opts.Region),
		header:  map[string]string{"X-Amz-Bucket-Region": s.opts.Region}, inside: "<Region>" + s.opts.Region + "</Region>",
	}
	if s.opts.Redirects {
		e.status, e.code, e.inside = http.StatusMovedPermanently, "PermanentRedirect", "<Endpoint>"+s.Addr()+"</Endpoint>"
		e.message = "The bucket you are attempting to access must be addressed using the specified endpoint."
	}
	return e
}

// inTime checks the request's date, and the end of a presigned URL.
func (s *S3) inTime(r *http.Request, sig s3Signature, at time.Time) *s3Error {
	off := s.Now().Sub(at)
	if !sig.query {
		if off.Abs() > 15*time.Minute {
			return s3Refuse(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
		}
		return nil
	}
	life, err := strconv.Atoi(r.URL.Query().Get("X-Amz-Expires"))
	switch {
	case err != nil || life < 1 || life > 7*24*60*60:
		return s3Refuse(http.StatusBadRequest, "AuthorizationQueryParametersError", "X-Amz-Expires must be a number of seconds, less than a week")
	case off > time.Duration(life)*time.Second:
		return s3Refuse(http.StatusForbidden, "AccessDenied", "Request has expired")
	case off < -15*time.Minute:
		return s3Refuse(http.StatusForbidden, "AccessDenied", "Request is not yet valid")
	}
	return nil
}

func readSignature(r *http.Request) (sig s3Signature, refusal *s3Error) {
	query := r.URL.Query()
	text, fields := r.Header.Get("Authorization"), make(map[string]string)
	switch {
	case query.Has("X-Amz-Signature"):
		sig.query, sig.date = true, query.Get("X-Amz-Date")
		text = query.Get("X-Amz-Algorithm") + " "
		for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
			fields[name] = query.Get("X-Amz-" + name)
		}
	default:
		sig.date = r.Header.Get("X-Amz-Date")
		_, list, _ := strings.Cut(text, " ")
		for part := range strings.SplitSeq(list, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			fields[name] = value
		}
	}
	if text == "" {
		return sig, s3Refuse(http.StatusForbidden, "AccessDenied", "Anonymous access is not permitted")
	}
	scope := strings.Split(fields["Credential"], "/")
	if !strings.HasPrefix(text, s3Algorithm+" ") || len(scope) != 5 || scope[3] != "s3" || scope[4] != "aws4_request" || len(fields) != 3 {
		return sig, s3Refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed")
	}
	sig.key, sig.day, sig.region = scope[0], scope[1], scope[2]
	sig.signed, sig.signature = strings.Split(fields["SignedHeaders"], ";"), fields["Signature"]
	if !slices.IsSorted(sig.signed) || !slices.Contains(sig.signed, "host") {
		return sig, s3Refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", "SignedHeaders must be sorted and hold host")
	}
	return sig, nil
}

// sign computes the signature that r should have.
func (s *S3) sign(r *http.Request, sig s3Signature) string {
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", r.Method, s3Escape(r.URL.Path, true), s3Query(r.URL.Query()))
	for _, name := range sig.signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if sig.query {
		payload = "UNSIGNED-PAYLOAD"
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", strings.Join(sig.signed, ";"), payload)
	scope := strings.Join([]string{sig.day, sig.region, "s3", "aws4_request"}, "/")
	digest := sha256.Sum256([]byte(canonical.String()))
	text := strings.Join([]string{s3Algorithm, sig.date, scope, hex.EncodeToString(digest[:])}, "\n")
	key := []byte("AWS4" + s.opts.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = s3HMAC(key, part)
	}
	return hex.EncodeToString(s3HMAC(key, text))
}

func s3HMAC(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // a hash never fails
	return h.Sum(nil)
}

// s3Query is the canonical form of a query: all but the signature, sorted.
func s3Query(q url.Values) string {
	var pairs []string
	for name, values := range q {
		for _, value := range values {
			if name != "X-Amz-Signature" {
				pairs = append(pairs, s3Escape(name, false)+"="+s3Escape(value, false))
			}
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// s3Escape escapes all octets but those that RFC 3986 calls unreserved, and slashes if they are to stay.
func s3Escape(text string, slashes bool) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0, c == '/' && slashes:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
