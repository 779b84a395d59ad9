package atmos

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// DriverName is the name of this driver in connection.Settings.
const DriverName = "atmos"

// Config are the settings of a store. Identity is the UID, mostly "subtenant/user"; Credential the shared secret in base64;
// Location the URL of the access point, https if it has no scheme; Bucket a directory at the top, which must exist.
type Config struct {
	connection.Identity
	objectstore.Settings
	objectstore.Tuning
	connection.TLSSettings
	ConnectTimeout connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" default:"30s" help:"for connecting and TLS together, as \"30s\" or milliseconds; 0 = none"`
}

// Validate implements connection.Config.
func (c Config) Validate() error {
	switch {
	case c.Settings.Identity == "":
		return errors.New("identity: missing: want the UID, as in \"subtenant/user\"")
	case strings.ContainsFunc(c.Settings.Identity, unicode.IsControl):
		return errors.New("identity: holds control characters")
	case c.Credential.IsZero():
		return errors.New("credential: missing")
	case c.ConnectTimeout < 0:
		return errors.New("connect_timeout: negative; 0 means none")
	}
	if _, err := c.key(); err != nil {
		return err
	}
	if _, err := c.base(); err != nil {
		return err
	}
	if c.Bucket == "" {
		return errors.New("bucket: missing: want the name of a directory at the top")
	}
	if c.Bucket == "." || c.Bucket == ".." || strings.ContainsFunc(c.Bucket, func(r rune) bool { return r > 0x7f || !plain(byte(r)) }) {
		return fmt.Errorf("bucket: %q is no bucket name of atmos: want letters, digits, '-', '_' and '.'", c.Bucket)
	}
	if err := c.Tuning.Validate(); err != nil {
		return err
	}
	return c.TLSSettings.Validate()
}

// key returns the octets that requests are signed with.
func (c Config) key() ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(c.Credential.Reveal()))
	if err != nil || len(key) == 0 {
		return nil, errors.New("credential: not base64")
	}
	return key, nil
}

// base returns the access point: scheme and host, nothing else.
func (c Config) base() (*url.URL, error) {
	text := strings.TrimSpace(c.Location)
	if text == "" {
		return nil, errors.New("location: missing: want the URL of the access point, with its port")
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@"):
		return nil, errors.New("location: holds a user name or password") // which url's error would repeat
	case err != nil:
		return nil, errors.New("location: no URL: want https://host:port")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("location: scheme %q is not http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("location: the host is missing: want https://host:port")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("location: goes on behind the host: want https://host:port; directories belong into bucket")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// Driver returns the driver, for a connection.Registry.
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }
