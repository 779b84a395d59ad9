package filestore_test

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// Further settings of a child: whom to be, and how large its files may be.
const (
	childUID       = "FILESTORE_TEST_UID"
	childFileLimit = "FILESTORE_TEST_FILE_LIMIT"
)

// restrain makes the process of a child what its environment says.
func restrain() error {
	if limit, err := strconv.ParseUint(os.Getenv(childFileLimit), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return err
		}
	}
	if uid, err := strconv.Atoi(os.Getenv(childUID)); err == nil {
		return syscall.Setuid(uid)
	}
	return nil
}
