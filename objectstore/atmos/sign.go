package atmos

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the protocol's choice
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A signer authenticates requests, as the Atmos Programmer's Guide says under "Securing REST messages with signatures".
type signer struct {
	uid string
	key []byte
}

// sign dates r and adds the UID and the signature. Its other headers must be complete.
func (s *signer) sign(r *http.Request, now time.Time) {
	date := now.UTC().Format(http.TimeFormat)
	r.Header.Set("Date", date)
	r.Header.Set("X-Emc-Date", date)
	r.Header.Set("X-Emc-Uid", s.uid)
	r.Header.Set("X-Emc-Signature", s.mac(stringToSign(r)))
}

func (s *signer) mac(text string) string {
	h := hmac.New(sha1.New, s.key)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// stringToSign is the method, Content-Type, Range, Date and path, and the x-emc headers by name.
func stringToSign(r *http.Request) string {
	resource := strings.ToLower(r.URL.EscapedPath())
	if r.URL.RawQuery != "" {
		resource += "?" + r.URL.RawQuery
	}
	lines := []string{r.Method, r.Header.Get("Content-Type"), r.Header.Get("Range"), r.Header.Get("Date"), resource}
	custom := make(map[string]string)
	for name, values := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-emc-") && name != "x-emc-signature" {
			custom[name] = strings.Join(strings.Fields(strings.Join(values, ",")), " ")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(custom)) {
		lines = append(lines, name+":"+custom[name])
	}
	return strings.Join(lines, "\n")
}

// share returns the query that lets anybody read path until the time given.
func (s *signer) share(path string, until time.Time) string {
	expires := strconv.FormatInt(until.Unix(), 10)
	signature := s.mac("GET\n" + strings.ToLower(path) + "\n" + s.uid + "\n" + expires)
	return "uid=" + url.QueryEscape(s.uid) + "&expires=" + expires + "&signature=" + url.QueryEscape(signature)
}
