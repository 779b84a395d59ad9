package b2

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strings"
	"unicode"

	"github.com/Backblaze/blazer/base"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// DriverName is the name of this driver in connection.Settings.
const DriverName = "b2"

// Values of Config.RetentionMode.
const (
	Governance = "governance" // keys with the capability bypassGovernance can end it
	Compliance = "compliance" // nobody can end it
)

// EncryptionB2 is the value of Config.Encryption for server-side encryption with keys of Backblaze (SSE-B2).
const EncryptionB2 = "sse-b2"

// Config are the settings of a store. Identity is the ID of an application key, or of the account for its master key;
// Credential the key itself; Bucket the bucket's ID or name. Location is empty, or the URL of another API.
type Config struct {
	connection.Identity
	objectstore.Settings
	objectstore.Tuning
	connection.TLSSettings
	ConnectTimeout     connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" default:"30s" help:"for connecting and TLS together, as \"30s\" or milliseconds; 0 = none"`
	RetentionMode      string              `json:"retention_mode,omitempty" label:"Retention mode" default:"governance" enum:"governance,compliance" help:"of objects that are put with a retention; governance: administrators can end it; compliance: nobody can"`
	Encryption         string              `json:"encryption,omitempty" label:"Encryption" enum:"sse-b2" help:"sse-b2: the server encrypts what is put and copied, with its own keys; empty: as the bucket says"`
	AllowPlaintextAuth bool                `json:"allow_plaintext_auth,omitempty" label:"Allow plaintext authentication" help:"send the credential over http to another machine; for tests"`
}

// The limits of the service.
const (
	minPart  = 5_000_000
	maxPart  = 5_000_000_000
	maxParts = 10_000
)

func partLimits() objectstore.PartLimits {
	most := int64(min(maxPart, math.MaxInt)) // package base counts in int
	return objectstore.PartLimits{MaxPut: most, MinPart: minPart, MaxPart: most, MaxParts: maxParts}
}

// Validate implements connection.Config.
func (c Config) Validate() error {
	switch {
	case c.Settings.Identity == "":
		return errors.New("identity: missing: want the ID of an application key")
	case strings.ContainsFunc(c.Settings.Identity, unicode.IsControl) || strings.Contains(c.Settings.Identity, ":"):
		return errors.New("identity: holds a colon or control characters")
	case c.Credential.IsZero():
		return errors.New("credential: missing")
	case c.Bucket == "":
		return errors.New("bucket: missing: want the bucket's ID or name")
	case strings.ContainsFunc(c.Bucket, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}):
		return fmt.Errorf("bucket: %q is no bucket name of b2: want letters, digits and '-', or the bucket's ID", c.Bucket)
	case c.ConnectTimeout < 0:
		return errors.New("connect_timeout: negative; 0 means none")
	case c.RetentionMode != "" && c.RetentionMode != Governance && c.RetentionMode != Compliance:
		return fmt.Errorf("retention_mode: %q: want %s or %s", c.RetentionMode, Governance, Compliance)
	case c.Encryption != "" && c.Encryption != EncryptionB2:
		return fmt.Errorf("encryption: %q: want %s or nothing", c.Encryption, EncryptionB2)
	}
	if _, err := c.base(); err != nil {
		return err
	}
	if err := c.Tuning.Validate(); err != nil {
		return err
	}
	if err := c.CheckParts(partLimits()); err != nil {
		return err
	}
	return c.TLSSettings.Validate()
}

// base returns the API's URL.
func (c Config) base() (*url.URL, error) {
	text := strings.TrimSpace(c.Location)
	if text == "" {
		text = base.APIBase
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@"):
		return nil, errors.New("location: holds a user name or password") // which url's error would repeat
	case err != nil:
		return nil, errors.New("location: no URL; leave it empty for Backblaze's own service")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("location: scheme %q is not http or https", u.Scheme)
	case u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("location: want https://host:port and nothing else; leave it empty for Backblaze's own service")
	case u.Scheme == "http" && !c.AllowPlaintextAuth && !loopback(u.Hostname()):
		return nil, errors.New("location: over http the credential would travel in the clear: write https://, or set allow_plaintext_auth")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tuning returns the settings with a part size by which no large object has less than two parts, as B2 wants it: one that is
// larger than single_put_limit counts as that.
func (c Config) tuning() objectstore.Tuning {
	t := c.Tuning
	if t.SinglePutLimit == 0 {
		t.SinglePutLimit = objectstore.DefaultSinglePutLimit
	}
	t.SinglePutLimit = max(t.SinglePutLimit, minPart)
	if t.PartSize == 0 {
		t.PartSize = objectstore.DefaultPartSize
	}
	t.PartSize = min(t.PartSize, t.SinglePutLimit)
	return t
}

// Driver returns the driver, for a connection.Registry.
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }
