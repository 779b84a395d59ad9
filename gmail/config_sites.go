package gmail

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// sites returns where the three services are.
func (c *Config) sites() (sites, error) {
	var s sites
	for _, site := range []struct {
		name, value, otherwise string
		into                   **url.URL
	}{
		{"endpoint", c.Endpoint, gmailURL, &s.gmail},
		{"directory_endpoint", c.DirectoryEndpoint, or(c.Endpoint, directoryURL), &s.directory},
		{"audit_endpoint", c.AuditEndpoint, or(c.Endpoint, auditURL), &s.audit},
	} {
		u, err := c.site(or(site.value, site.otherwise))
		if err != nil {
			return sites{}, fmt.Errorf("%s: %w", site.name, err)
		}
		*site.into = u
	}
	return s, nil
}

// site reads a base URL. The library drops a path from it for uploads, and keeps it for all else.
func (c *Config) site(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("want a URL such as https://gmail.example.org")
	case u.User != nil:
		return nil, errors.New("user information not allowed")
	case u.Path != "" && u.Path != "/":
		return nil, errors.New("path not allowed")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return nil, errors.New("query and fragment not allowed")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("scheme %q: want https", u.Scheme)
	case u.Scheme == "http" && !c.CustomEndpoints:
		return nil, errors.New("http only with custom_endpoints")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("http only on this machine, and %s is another", u.Hostname())
	case !c.CustomEndpoints && !isGoogle(u.Hostname()):
		return nil, fmt.Errorf("host %s not allowed; it is not Google's (see custom_endpoints)", u.Hostname())
	}
	if text := u.Port(); text != "" {
		if port, err := strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return nil, fmt.Errorf("port %q: want a number from 1 to 65535", text)
		}
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// isGoogle reports whether an API of Google may be at host.
func isGoogle(host string) bool {
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".googleapis.com") || host == "apps-apis.google.com"
}
