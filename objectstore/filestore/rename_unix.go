//go:build unix && !linux

package filestore

import (
	"errors"
)

func renameExclusive(int, string, int, string) error { return errors.ErrUnsupported }
