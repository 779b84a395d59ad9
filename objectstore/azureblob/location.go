package azureblob

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// clouds are the words that Location may be instead of a URL, in lower case, and the host behind the account's name.
var clouds = map[string]string{
	"":                  "blob.core.windows.net",
	"azureblob":         "blob.core.windows.net",
	"azurecloud":        "blob.core.windows.net",
	"azurechinacloud":   "blob.core.chinacloudapi.cn",
	"azureusgovernment": "blob.core.usgovcloudapi.net",
}

// otherServices are the account's endpoints that do not speak the Blob API.
var otherServices = []string{"dfs", "file", "queue", "table", "web"}

// An endpoint is where the account is, and how Location was understood.
type endpoint struct {
	base  *url.URL // of the account: for an emulator with the account in the path
	notes []string // what was guessed or corrected, for Test
	named bool     // Location does not name the host: the account's name makes it
}

// container returns the URL of the container.
func (e *endpoint) container(name string) string { return e.base.JoinPath(name).String() }

// endpoint understands Location.
func (c *Config) endpoint() (*endpoint, error) {
	account, location := c.Settings.Identity, strings.TrimSpace(c.Location)
	if suffix, ok := clouds[strings.ToLower(location)]; ok {
		if !accountName.MatchString(account) {
			return nil, fmt.Errorf("identity: %q is no name of a storage account: want 3 to 24 lower-case letters and digits", account)
		}
		return &endpoint{base: &url.URL{Scheme: "https", Host: account + "." + suffix}, named: true}, nil
	}
	if !hostLabel.MatchString(account) {
		return nil, fmt.Errorf("identity: %q is no name of a storage account", account)
	}
	u, err := parseLocation(location)
	if err != nil {
		return nil, err
	}
	e := &endpoint{base: &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}}
	first, rest, _ := strings.Cut(u.Hostname(), ".")
	domain, _, _ := strings.Cut(rest, ".")
	switch {
	case strings.EqualFold(first, "blob"):
		e.base.Host = account + "." + e.base.Host
		e.notes = append(e.notes, "the account's name was put in front of "+u.Host)
	case oneOf(strings.ToLower(domain), strings.Join(otherServices, ",")) && strings.Contains(rest, ".core."):
		return nil, fmt.Errorf("location: %s is the endpoint of another service of the account (%s); want the one with \"blob\" in its place", u.Host, domain)
	case strings.EqualFold(domain, "blob") && !strings.EqualFold(first, account) && !strings.EqualFold(first, account+"-secondary"):
		return nil, fmt.Errorf("location: is the endpoint of the account %q, but identity is %q", first, account)
	}
	return e, e.path(u, account, c.Bucket)
}

// parseLocation reads a URL, or a host without a scheme. Its errors do not show what may be a secret.
func parseLocation(location string) (*url.URL, error) {
	scheme, _, found := strings.Cut(location, "://")
	switch {
	case !found:
		location = "https://" + location
	case !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return nil, fmt.Errorf("location: scheme %q is not http or https", scheme)
	}
	u, err := url.Parse(location)
	switch {
	case err != nil:
		return nil, errors.New("location: is no URL") // the parser's error would quote it
	case u.User != nil:
		return nil, errors.New("location: holds a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("location: holds a query, a shared access signature perhaps; leave out everything from the ? on")
	case u.Hostname() == "" || strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, errors.New("location: holds no host name")
	case !strings.ContainsAny(u.Host, ".:") && !found:
		return nil, fmt.Errorf("location: %q is no URL; want azureblob, AzureChinaCloud, AzureUSGovernment or the URL of the account", u.Host)
	}
	return u, nil
}

// path understands what follows the host: the account for an emulator, and perhaps the container, which is taken away.
func (e *endpoint) path(u *url.URL, account, bucket string) error {
	segments := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	host := u.Hostname()
	emulator := net.ParseIP(host) != nil || !strings.Contains(host, ".") || len(segments) > 0 && segments[0] == account
	if emulator {
		e.base.Path = "/" + account
		if len(segments) == 0 {
			e.notes = append(e.notes, "the account's name was put into the path, as emulators want it")
		} else if segments[0] == account {
			segments = segments[1:]
		}
	}
	if len(segments) > 0 && segments[0] == bucket {
		e.notes = append(e.notes, "the container's name at the end was left out")
		segments = segments[1:]
	}
	if len(segments) > 0 {
		return fmt.Errorf("location: the path holds %q, which is neither the account nor the container", segments[0])
	}
	return nil
}
