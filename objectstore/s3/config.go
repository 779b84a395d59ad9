package s3

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// DriverName is the name of this driver in connection.Settings.
const DriverName = "s3"

// Values of Config.PathStyle.
const (
	PathStyleAuto = "auto" // on, unless the host is Amazon's and the bucket has no dot
	PathStyleOn   = "on"   // https://host/bucket/key
	PathStyleOff  = "off"  // https://bucket.host/key
)

// Values of Config.UnsignedPayload.
const (
	UnsignedAuto   = "auto"   // over TLS, where the signature need not cover the octets
	UnsignedAlways = "always" // over plain HTTP too: Content-MD5 alone then finds damage on the way
)

// Values of Config.RetentionMode.
const (
	RetentionGovernance = "governance" // users with a special permission may shorten it
	RetentionCompliance = "compliance" // nobody may shorten it, not even the owner of the account
)

// Values of Config.Encryption.
const (
	EncryptionS3  = "AES256"  // with keys of the store (SSE-S3)
	EncryptionKMS = "aws:kms" // with the key Config.KMSKey of the provider's key service, or its default key (SSE-KMS)
)

// Keys are what signs requests.
type Keys struct {
	AccessKey    string
	SecretKey    connection.Secret
	SessionToken connection.Secret // of temporary keys
	Expires      time.Time         // zero = never
}

// Config are the settings of a store. Identity is the access key and Credential the secret key. Location is a region, a
// host or a URL; empty means Amazon's us-east-1. Bucket is the name of an existing bucket.
type Config struct {
	connection.Identity
	objectstore.Settings
	objectstore.Tuning
	connection.TLSSettings
	ConnectTimeout connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" default:"30s" help:"for dialling and TLS together; 0 = none"`
	// Keys, if not nil, is asked for keys instead of Identity, Credential and SessionToken, which must then be empty: before the
	// first request, when the keys it gave expire, and when the server says that they have. It is for programs whose keys
	// come from a role, a profile or a metadata service, and may be called from several goroutines.
	Keys            func(ctx context.Context) (Keys, error) `json:"-"`
	SessionToken    connection.Secret                       `json:"session_token,omitzero" label:"Session token" help:"belongs to temporary access keys; they stop working when it expires"`
	Region          string                                  `json:"region,omitempty" label:"Region" help:"which signatures are for, if location does not tell; default us-east-1"`
	PathStyle       string                                  `json:"path_style,omitempty" label:"Bucket in path" default:"auto" enum:"auto,on,off" help:"on: https://host/bucket; off: https://bucket.host; auto: on, unless the host is Amazon's"`
	UnsignedPayload string                                  `json:"unsigned_payload,omitempty" label:"Unsigned payload" default:"auto" enum:"auto,always" help:"leave the octets out of the signature: auto does so over TLS only"`
	StorageClass    string                                  `json:"storage_class,omitempty" label:"Storage class" help:"of what is put, such as STANDARD_IA, GLACIER or DEEP_ARCHIVE; empty: the bucket's own"`
	RetentionMode   string                                  `json:"retention_mode,omitempty" label:"Retention mode" default:"governance" enum:"governance,compliance" help:"of retention that is set: compliance can be shortened by nobody"`
	RestoreTier     string                                  `json:"restore_tier,omitempty" label:"Restore tier" default:"Standard" enum:"Standard,Bulk,Expedited" help:"how fast, and at what price, objects come back from a cold class"`
	Encryption      string                                  `json:"encryption,omitempty" label:"Encryption" enum:"AES256,aws:kms" help:"how the server is to encrypt what is put: AES256 with its own keys, aws:kms with kms_key; empty: the bucket's own way"`
	KMSKey          string                                  `json:"kms_key,omitempty" label:"KMS key" help:"id or ARN of the key for encryption aws:kms; empty: the account's default key" when:"encryption=aws:kms"`
}

// Validate implements connection.Config.
func (c Config) Validate() error {
	if err := c.checkKeys(); err != nil {
		return err
	}
	if err := checkBucket(c.Bucket); err != nil {
		return err
	}
	if _, err := c.place(); err != nil {
		return err
	}
	for _, choice := range []struct {
		field, value string
		of           []string
	}{
		{"path_style", c.PathStyle, []string{PathStyleAuto, PathStyleOn, PathStyleOff}},
		{"unsigned_payload", c.UnsignedPayload, []string{UnsignedAuto, UnsignedAlways}},
		{"retention_mode", c.RetentionMode, []string{RetentionGovernance, RetentionCompliance}},
		{"restore_tier", c.RestoreTier, []string{"Standard", "Bulk", "Expedited"}},
		{"encryption", c.Encryption, []string{EncryptionS3, EncryptionKMS}},
	} {
		if choice.value != "" && !slices.Contains(choice.of, choice.value) {
			return fmt.Errorf("%s: %q: want %s", choice.field, choice.value, strings.Join(choice.of, " or "))
		}
	}
	switch {
	case c.KMSKey != "" && c.Encryption != EncryptionKMS:
		return fmt.Errorf("kms_key: is of use only with encryption %q", EncryptionKMS)
	case hasControl(c.KMSKey):
		return errors.New("kms_key: holds control characters")
	case hasControl(c.StorageClass):
		return errors.New("storage_class: holds control characters")
	case c.ConnectTimeout < 0:
		return errors.New("connect_timeout: negative; 0 means none")
	}
	if err := c.Tuning.Validate(); err != nil {
		return err
	}
	if err := c.CheckParts(partLimits); err != nil {
		return err
	}
	return c.TLSSettings.Validate()
}

func (c Config) checkKeys() error {
	if c.Keys != nil {
		if c.Settings.Identity != "" || !c.Credential.IsZero() || !c.SessionToken.IsZero() {
			return errors.New("identity: Keys gives the keys: leave identity, credential and session_token empty")
		}
		return nil
	}
	switch {
	case c.Settings.Identity == "":
		return errors.New("identity: missing: want the access key")
	case hasControl(c.Settings.Identity):
		return errors.New("identity: holds control characters")
	case c.Credential.IsZero():
		return errors.New("credential: missing: want the secret key")
	case hasControl(c.Credential.Reveal()):
		return errors.New("credential: holds control characters: a line end was copied with it")
	case hasControl(c.SessionToken.Reveal()):
		return errors.New("session_token: holds control characters: a line end was copied with it")
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*[a-z0-9]$`)
	ipv4       = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`)
)

// checkBucket applies the rules for bucket names (S3 user guide, "General purpose bucket naming rules").
func checkBucket(name string) error {
	rule := ""
	switch {
	case name == "":
		return errors.New("bucket: missing: want the name of an existing bucket")
	case len(name) < 3 || len(name) > 63:
		rule = "it has 3 to 63 characters"
	case !bucketName.MatchString(name):
		rule = "it has lower-case letters, digits, dots and hyphens, and begins and ends with a letter or digit"
	case strings.Contains(name, ".."):
		rule = "two dots do not follow each other"
	case ipv4.MatchString(name):
		rule = "it does not look like an IP address"
	default:
		return nil
	}
	return fmt.Errorf("bucket: %q is no bucket name of s3: %s", name, rule)
}

// Driver returns the driver, for a connection.Registry.
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }

// Drivers returns all drivers of this package, under all names that Settings may use: "s3", "aws-s3", and "minio", which
// wants a host or URL in Location.
func Drivers() []connection.Driver {
	return []connection.Driver{
		Driver(),
		Driver().Alias("aws-s3"),
		connection.NewDriver("minio", func(c Config, env *connection.Env) (*Conn, error) {
			if p, err := c.place(); err == nil && p.aws {
				return nil, invalid(errors.New("location: missing: want the URL of the server, such as https://minio.example.org:9000"))
			}
			return Open(c, env)
		}),
	}
}

func invalid(err error) error {
	return &connection.Error{Op: "open", Driver: DriverName, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
}
