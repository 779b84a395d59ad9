package autodiscover

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/idna"

	"github.com/mailconn/mailconn/connection"
)

// An address is the address of a mailbox.
type address struct {
	whole  string // as it was given
	domain string // in ASCII, lower case
}

// parseAddress takes an SMTP address apart. Its domain becomes part of URLs, so nothing but host name characters pass.
func parseAddress(text string) (address, error) {
	local, domain, ok := strings.Cut(text, "@")
	switch {
	case !ok || local == "" || domain == "" || strings.Contains(domain, "@"):
		return address{}, errors.New("want an SMTP address with one @")
	case len(text) > 320: // RFC 5321, 4.5.3.1: 64 and 255
		return address{}, errors.New("is longer than an SMTP address can be")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xfffd || r == 0xfffe || r == 0xffff }):
		return address{}, errors.New("spaces or control characters in the address")
	}
	ascii, err := asciiHost(domain)
	if err != nil {
		return address{}, err
	}
	if net.ParseIP(ascii) != nil {
		return address{}, errors.New("autodiscover needs a domain, not an IP address")
	}
	return address{whole: text, domain: ascii}, nil
}

// is reports whether two addresses are the same mailbox's.
func (a address) is(b address) bool { return strings.EqualFold(a.whole, b.whole) }

// asciiHost returns a host name as DNS and URLs want it: lower case, internationalised labels encoded (RFC 5891), no dot
// at the end. IP addresses pass, without brackets.
func asciiHost(host string) (string, error) {
	if ip := net.ParseIP(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); ip != nil {
		return ip.String(), nil
	}
	// Underscores occur in the names of Windows hosts, which the strict rules do not know.
	ascii, err := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false)).ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("%q is no host name", host)
	}
	ascii = strings.ToLower(strings.TrimSuffix(ascii, "."))
	if len(ascii) == 0 || len(ascii) > 253 {
		return "", fmt.Errorf("%q is no host name", host)
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInHost) {
			return "", fmt.Errorf("%q is no host name", host)
		}
	}
	return ascii, nil
}

func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// secureURL returns a URL that credentials may be sent to as far as its form tells: https, with a host, without user
// information. Its host is in ASCII and the fragment is gone.
func secureURL(u *url.URL) (*url.URL, error) {
	switch {
	case u.Scheme == "http":
		return nil, errors.New("is http, where credentials would go in the clear")
	case u.Scheme != "https":
		return nil, fmt.Errorf("want https, not %q", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("holds a user name")
	case u.Opaque != "":
		return nil, errors.New("want an absolute URL")
	}
	host, err := asciiHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	clean := *u
	clean.Fragment, clean.RawFragment = "", ""
	clean.Host = joinHost(host, u.Port())
	return &clean, nil
}

// joinHost puts host and port together; 443 is left out, so that equal URLs look equal.
func joinHost(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || port == "443" {
		return host
	}
	return host + ":" + port
}

// ewsURL reads the URL of an EWS endpoint.
func ewsURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("is no URL")
	}
	return secureURL(u)
}

// invalid returns the error of an address that cannot be looked for.
func (f *Finder) invalid(address string, err error) *connection.Error {
	e := f.fail(connection.ErrInvalid, "", fmt.Errorf("mailbox %q: %w", address, err))
	e.Hint = "mailboxes, username: autodiscover needs the mailbox's SMTP address"
	return e
}
