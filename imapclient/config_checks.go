package imapclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
)

// The defaults and bounds of waiting and of chunks.
const (
	defaultIdleRenew      = 9 * time.Minute // Gmail drops at about 10, Microsoft 365 wants less
	defaultIdleSafetyPoll = 5 * time.Minute
	minIdleRenew          = 10 * time.Second
	maxIdleRenew          = 29 * time.Minute // RFC 2177, 3: at least every 29 minutes
	idleLimitMargin       = time.Minute

	defaultChunkSize = 512 << 10
	minChunkSize     = 4 << 10
	maxChunkSize     = 64 << 20

	defaultMaxAttempts = 3
	mostAttempts       = 20
)

// deleteModes are the values of Config.DeleteMode.
var deleteModes = []string{DeleteNone, DeleteFlag, DeleteSeen, DeleteExpunge, DeleteMove, DeleteTrash}

// checkWaiting checks what rules IDLE, chunks, sessions and attempts.
func (c *Config) checkWaiting() error {
	renew := c.IdleRenew.D()
	switch {
	case renew != 0 && (renew < minIdleRenew || renew > maxIdleRenew):
		return fmt.Errorf("idle_renew: %v: want %v to %v", renew, minIdleRenew, maxIdleRenew)
	case c.IdleSafetyPoll < 0:
		return errors.New("idle_safety_poll: negative")
	case c.IdleLimit < 0:
		return errors.New("idle_limit: negative")
	case c.ChunkSize != 0 && (c.ChunkSize < minChunkSize || c.ChunkSize > maxChunkSize):
		return fmt.Errorf("chunk_size: %d: want %d to %d", c.ChunkSize, minChunkSize, maxChunkSize)
	case c.MaxSessions < 0:
		return errors.New("max_sessions: negative; 0 means as many as are needed")
	case c.MaxAttempts < 0 || c.MaxAttempts > mostAttempts:
		return fmt.Errorf("max_attempts: %d: want 1 to %d", c.MaxAttempts, mostAttempts)
	}
	return nil
}

// checkDeleting checks what Delete is to do.
func (c *Config) checkDeleting() error {
	last := len(deleteModes) - 1
	switch {
	case c.DeleteMode != "" && !slices.Contains(deleteModes, c.DeleteMode):
		return fmt.Errorf("delete_mode: %q: want %s", c.DeleteMode, strings.Join(deleteModes[:last], ", ")+" or "+deleteModes[last])
	case c.DeleteMode == DeleteMove && c.MoveTo == "":
		return errors.New("delete_mode: move: needs move_to")
	case c.DeleteMode != DeleteMove && c.MoveTo != "":
		return fmt.Errorf("move_to: not with delete_mode %s", c.deleteMode())
	case c.MoveTo == "":
		return nil
	}
	if err := validFolder(c.MoveTo); err != nil {
		return fmt.Errorf("move_to: %w", err)
	}
	if slices.ContainsFunc(c.folders(), func(name string) bool { return sameFolder(name, c.MoveTo) }) {
		return fmt.Errorf("move_to: %q is one of folders: its messages would be moved into itself", c.MoveTo)
	}
	return nil
}

// sameFolder reports whether two names mean one folder. INBOX has no case (RFC 9051, 5.1).
func sameFolder(a, b string) bool {
	return a == b || strings.EqualFold(a, defaultFolder) && strings.EqualFold(b, defaultFolder)
}

// deletes reports whether Delete may change the folder, so that SELECT must be writable.
func (c *Config) deletes() bool { return c.deleteMode() != DeleteNone }

// moves reports whether Delete moves messages to another folder.
func (c *Config) moves() bool { return c.DeleteMode == DeleteMove || c.DeleteMode == DeleteTrash }

// marks is the flag by which Delete marks messages.
func (c *Config) marks() goimap.Flag {
	if c.DeleteMode == DeleteSeen {
		return goimap.FlagSeen
	}
	return goimap.FlagDeleted
}

func (c *Config) deleteMode() string {
	if c.DeleteMode == "" {
		return DeleteNone
	}
	return c.DeleteMode
}

func (c *Config) idleRenew() time.Duration {
	if c.IdleRenew == 0 {
		return defaultIdleRenew
	}
	return c.IdleRenew.D()
}

func (c *Config) idleSafetyPoll() time.Duration {
	if c.IdleSafetyPoll == 0 {
		return defaultIdleSafetyPoll
	}
	return c.IdleSafetyPoll.D()
}

func (c *Config) idleLimit() time.Duration {
	if c.IdleLimit == 0 {
		return c.idleRenew() + idleLimitMargin
	}
	return c.IdleLimit.D()
}

func (c *Config) chunkSize() int {
	if c.ChunkSize == 0 {
		return defaultChunkSize
	}
	return c.ChunkSize
}

func (c *Config) maxAttempts() int {
	if c.MaxAttempts == 0 {
		return defaultMaxAttempts
	}
	return c.MaxAttempts
}
