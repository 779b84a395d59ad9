//go:build (!unix && !windows) || solaris || aix

package filestore

import (
	"errors"
	"os"
)

func tryLock(*os.File) error { return errors.ErrUnsupported }
