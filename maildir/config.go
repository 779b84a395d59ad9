package maildir

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// The values of Config.Layout.
const (
	LayoutAuto      = "auto"      // both of the others
	LayoutMaildirPP = "maildir++" // .Sent.2024 is Sent/2024
	LayoutFS        = "fs"        // Sent/2024 is Sent/2024 (Dovecot's LAYOUT=fs)
)

// The values of Config.DeleteMode.
const (
	DeleteNone   = "none"   // Delete fails with ErrConfig
	DeleteRemove = "remove" // the file is removed
	DeleteTrash  = "trash"  // the file gets the flag T and stays; Fetch yields it again, with FlagDeleted
	DeleteMove   = "move"   // the file goes to the Maildir of Config.MoveTo
)

const defaultPollInterval = 2 * time.Second

// Config are the settings of a connection.
type Config struct {
	connection.Identity

	Path           string              `json:"path" label:"Path" help:"A Maildir, or with * or {user} many: /home/{user}/Maildir, /var/vmail/*/*. A backslash takes the meaning from the character after it (not on Windows)."`
	Layout         string              `json:"layout,omitempty" label:"Folder layout" help:"How sub-folders are stored: .Sent.2024 (maildir++), Sent/2024 (fs), or whichever is found (auto)." default:"auto" enum:"auto,maildir++,fs"`
	MailboxName    string              `json:"mailbox_name,omitempty" label:"Mailbox name" help:"What names the mailbox: a number counts the path's elements from the end (1 is the last), or a text with placeholders of the path: {user}@{domain}. Empty: the elements that wildcards matched."`
	Include        []string            `json:"include,omitempty" label:"Folders" help:"Names or patterns of the folders to read; * stands for anything, also across /, and ? for one character. Empty: all."`
	Exclude        []string            `json:"exclude,omitempty" label:"Folders left out" help:"Names or patterns; they win over include."`
	DeleteMode     string              `json:"delete_mode,omitempty" label:"Delete" help:"What deleting does: none refuses, remove removes the file, trash gives it the flag T, move moves it to move_to." default:"none" enum:"none,remove,trash,move"`
	MoveTo         string              `json:"move_to,omitempty" label:"Move to" help:"For delete_mode move: a folder of the same mailbox (Archived), or the absolute path of a Maildir, in which {mailbox} stands for the mailbox. It must exist, and is not read itself." when:"delete_mode=move"`
	FollowSymlinks bool                `json:"follow_symlinks,omitempty" label:"Follow symbolic links" help:"Take mailboxes, folders and messages that are symbolic links. Links never lead out of the tree, also when this is on."`
	PollInterval   connection.Duration `json:"poll_interval,omitempty" label:"Poll interval" help:"How often following looks for mail that no notification announced." default:"2s" min:"10ms"`
	MaxMessage     int64               `json:"max_message,omitempty" label:"Largest message" help:"Octets; a larger message is reported and left alone. 0: no limit." min:"0"`
}

// Validate implements [connection.Config].
func (c Config) Validate() error {
	if c.Path == "" {
		return errors.New("path: missing: give the path of a Maildir, or a pattern such as /home/*/Maildir")
	}
	if _, err := parsePattern(c.Path, c.MailboxName); err != nil {
		return err
	}
	if !slices.Contains([]string{"", LayoutAuto, LayoutMaildirPP, LayoutFS}, c.Layout) {
		return fmt.Errorf("layout: %q: want auto, maildir++ or fs", c.Layout)
	}
	if err := validPatterns("include", c.Include); err != nil {
		return err
	}
	if err := validPatterns("exclude", c.Exclude); err != nil {
		return err
	}
	if !slices.Contains([]string{"", DeleteNone, DeleteRemove, DeleteTrash, DeleteMove}, c.DeleteMode) {
		return fmt.Errorf("delete_mode: %q: want none, remove, trash or move", c.DeleteMode)
	}
	if c.PollInterval != 0 && c.PollInterval.D() < 10*time.Millisecond {
		return fmt.Errorf("poll_interval: %s: want at least 10ms", c.PollInterval)
	}
	if c.MaxMessage < 0 {
		return fmt.Errorf("max_message: %d: want at least 0", c.MaxMessage)
	}
	return c.validMove()
}

func (c Config) validMove() error {
	switch {
	case c.DeleteMode == DeleteMove && c.MoveTo == "":
		return errors.New("move_to: missing: delete_mode move needs a folder or the path of a Maildir")
	case c.DeleteMode != DeleteMove && c.MoveTo != "":
		return errors.New("move_to: has no meaning unless delete_mode is move")
	case strings.ContainsRune(c.MoveTo, 0):
		return errors.New("move_to: holds a NUL")
	case c.MoveTo == inbox:
		return errors.New("move_to: INBOX is where new mail is: name another folder")
	}
	return nil
}

func validPatterns(field string, patterns []string) error {
	for _, p := range patterns {
		if p == "" {
			return fmt.Errorf("%s: \"\": empty name", field)
		}
		if _, err := path.Match(flat(p), ""); err != nil {
			return fmt.Errorf("%s: %q: %w", field, p, err)
		}
	}
	return nil
}

// flat takes the meaning of "/" away from a folder's name or pattern, so that path.Match lets * cross it.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(flat(p), flat(name)); err == nil && ok || p == name {
			return true
		}
	}
	return false
}

// wants reports whether the settings take the folder called name.
func (c *Config) wants(name string) bool {
	return (len(c.Include) == 0 || matchesAny(c.Include, name)) && !matchesAny(c.Exclude, name)
}

func (c *Config) pollInterval() time.Duration {
	if c.PollInterval == 0 {
		return defaultPollInterval
	}
	return c.PollInterval.D()
}

// moveFolder returns the folder of the same mailbox that deleted messages go to, "" if there is none.
func (c *Config) moveFolder() string {
	if c.DeleteMode != DeleteMove || filepath.IsAbs(c.MoveTo) {
		return ""
	}
	return c.MoveTo
}

// movePath returns the path of the Maildir that deleted messages of a mailbox go to, "" if there is none; ok is false if
// the mailbox's name cannot be part of it.
func (c *Config) movePath(mailbox string) (target string, ok bool) {
	if c.DeleteMode != DeleteMove || !filepath.IsAbs(c.MoveTo) {
		return "", true
	}
	if strings.Contains(c.MoveTo, "{mailbox}") && !filepath.IsLocal(filepath.FromSlash(mailbox)) {
		return "", false
	}
	return strings.ReplaceAll(c.MoveTo, "{mailbox}", mailbox), true
}

// Driver returns the driver "maildir".
func Driver() connection.Driver { return connection.NewDriver(driverName, Open) }
