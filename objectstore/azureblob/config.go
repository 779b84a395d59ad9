package azureblob

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// DriverName is the name of this driver in connection.Settings.
const DriverName = "azureblob"

// Values of Config.RetentionMode.
const (
	RetentionGovernance = "governance" // an Unlocked policy: an administrator of the account can take it back
	RetentionCompliance = "compliance" // a Locked policy: nobody can, until it ends
)

// Config are the settings of a store. Identity is the name of the storage account, Credential one of its two keys in
// base64, Bucket the container, which must exist. Location is "azureblob" or empty for Azure's public cloud, "AzureChinaCloud"
// or "AzureUSGovernment" for two others, or the URL of the account's blob endpoint: of a private endpoint, of a domain of
// one's own, of an emulator ("http://127.0.0.1:10000/devstoreaccount1").
type Config struct {
	connection.Identity
	objectstore.Settings
	objectstore.Tuning
	ConnectTimeout connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" default:"30s" help:"for dialling and TLS together; 0 = none"`
	connection.TLSSettings

	StorageClass      string `json:"storage_class,omitempty" label:"Access tier" enum:"Hot,Cool,Cold,Archive" help:"tier of what is stored, unless the program says otherwise; none = the account's default. Archive must be restored, for hours, before it can be read"`
	EncryptionScope   string `json:"encryption_scope,omitempty" label:"Encryption scope" help:"scope of the account whose key encrypts what is stored; none = the container's default"`
	RetentionMode     string `json:"retention_mode,omitempty" label:"Retention mode" default:"governance" enum:"governance,compliance" help:"governance: an administrator can take a retention back; compliance: nobody can until it ends"`
	RehydrateTier     string `json:"rehydrate_tier,omitempty" label:"Restore to tier" default:"Hot" enum:"Hot,Cool,Cold" help:"where an object goes that is restored from the archive tier"`
	RehydratePriority string `json:"rehydrate_priority,omitempty" label:"Restore priority" default:"Standard" enum:"Standard,High" help:"of a restore from the archive tier: Standard takes up to 15 hours or more, High is dearer and takes less than an hour for most objects"`
}

var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	hostLabel     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	containerName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])+$`)
	scopeName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{2,62}$`)
)

// Validate implements connection.Config.
func (c Config) Validate() error {
	if c.Settings.Identity == "" {
		return errors.New("identity: missing: want the name of the storage account")
	}
	if err := c.checkCredential(); err != nil {
		return err
	}
	switch {
	case c.Bucket == "":
		return errors.New("bucket: missing")
	case len(c.Bucket) < 3 || len(c.Bucket) > 63 || !containerName.MatchString(c.Bucket):
		return fmt.Errorf("bucket: %q is no bucket name of azureblob: want 3 to 63 lower-case letters, digits and single hyphens between them", c.Bucket)
	}
	if _, err := c.endpoint(); err != nil {
		return err
	}
	if c.ConnectTimeout < 0 {
		return errors.New("connect_timeout: negative; 0 means none")
	}
	if err := c.TLSSettings.Validate(); err != nil {
		return err
	}
	if err := c.Tuning.Validate(); err != nil {
		return err
	}
	if err := c.CheckParts(limits); err != nil {
		return err
	}
	for _, choice := range []struct{ field, value, choices string }{
		{"storage_class", c.StorageClass, "Hot,Cool,Cold,Archive"},
		{"retention_mode", c.RetentionMode, "governance,compliance"},
		{"rehydrate_tier", c.RehydrateTier, "Hot,Cool,Cold"},
		{"rehydrate_priority", c.RehydratePriority, "Standard,High"},
	} {
		if choice.value != "" && !oneOf(choice.value, choice.choices) {
			return fmt.Errorf("%s: %q: want one of %s", choice.field, choice.value, strings.ReplaceAll(choice.choices, ",", ", "))
		}
	}
	if c.EncryptionScope != "" && !scopeName.MatchString(c.EncryptionScope) {
		return fmt.Errorf("encryption_scope: %q is no name of a scope: want 3 to 63 letters, digits and hyphens", c.EncryptionScope)
	}
	return nil
}

func oneOf(value, choices string) bool {
	for choice := range strings.SplitSeq(choices, ",") {
		if value == choice {
			return true
		}
	}
	return false
}

// checkCredential never quotes what it checks.
func (c *Config) checkCredential() error {
	key := c.Credential.Reveal()
	if key == "" {
		return errors.New("credential: missing: want a key of the storage account")
	}
	if strings.Contains(key, "AccountKey=") {
		return errors.New("credential: not base64: it is a whole connection string; want the part of it that follows AccountKey=")
	}
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) == 0 {
		return errors.New("credential: not base64")
	}
	return nil
}

// Driver returns the driver, for a connection.Registry.
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }
