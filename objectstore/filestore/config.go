// Package filestore keeps objects as files in a directory: the store for single-machine hosts, programs and tests.
//
//	c, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: "/var/archive"}}, nil)
//
// # What a nil error from Put means
//
// The octets, the file's name and every directory above it are on disk (fsync), whole, under the key. Until then the key
// holds what it held before: a process killed or a machine halted at any moment leaves the old object or the new one,
// never a part, and at most a remainder in .tmp, which Incomplete lists, and of an object that was never there before
// perhaps a sidecar, which the next Put or Delete of the key takes over. Put with IfAbsent is atomic between processes,
// and when it returns ErrExists, what is there is durable too.
//
// # What is on disk
//
// Keys are paths, with what file systems cannot keep escaped; capital letters too, so that a store can move between
// systems (names.go has the rules). A key whose last segment, up to its first dot, is the SHA-256 of its content needs
// nothing else. Every other object has a sidecar, <file>%m, with its SHA-256 and its metadata. Files that others put into
// the directory are objects if their names are such as this package writes, and are ignored otherwise.
//
// # Locks
//
// Retention and legal hold bind everybody who uses this package, in all processes. They do not bind the file system:
// who may write the directory can remove files by other means.
package filestore

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// DriverName is the name of this driver in connection.Settings.
const DriverName = "file"

// Values of Config.Sync.
const (
	SyncFull = "full" // Put and Delete return after fsync of the file and of its directories
	SyncNone = "none" // they leave that to the system: a power failure may lose or damage what was put
)

// Config are the settings of a store. Location is the absolute path of a directory, which must exist; Bucket a directory
// below it, which must exist too, or empty. Identity and Credential must be empty. Two stores must not be one inside the
// other.
type Config struct {
	connection.Identity
	objectstore.Settings
	Sync string `json:"sync,omitempty" label:"Durability" default:"full" enum:"full,none" help:"full: nothing that was stored is lost when the machine halts; none: faster, for scratch data only"`
}

// Validate implements connection.Config.
func (c Config) Validate() error {
	switch {
	case c.Settings.Identity != "":
		return errors.New("identity: the file store has no users; leave it empty")
	case !c.Credential.IsZero():
		return errors.New("credential: the file store has no users; leave it empty")
	case c.Location == "":
		return errors.New("location: missing: want the absolute path of a directory")
	case !filepath.IsAbs(c.Location):
		return fmt.Errorf("location: %q is not an absolute path", c.Location)
	case strings.ContainsRune(c.Location, 0):
		return errors.New("location: holds a NUL octet")
	}
	switch c.Sync {
	case "", SyncFull, SyncNone:
	default:
		return fmt.Errorf("sync: %q: want %s or %s", c.Sync, SyncFull, SyncNone)
	}
	for _, name := range c.bucketPath() {
		if name == "" || name[0] == '.' || strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(name) {
			return fmt.Errorf("bucket: %q is no name of a directory below location", c.Bucket)
		}
	}
	return nil
}

func (c Config) bucketPath() []string {
	if c.Bucket == "" {
		return nil
	}
	bucket := c.Bucket
	if runtime.GOOS == "windows" {
		bucket = filepath.ToSlash(bucket)
	}
	return strings.Split(bucket, "/")
}

// Driver returns the driver, for a connection.Registry.
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }
