package imapclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// listAgain is how often Follow looks for new folders where the settings hold patterns.
const listAgain = time.Minute

// validFolders checks the setting field.
func validFolders(field string, names []string) error {
	for i, name := range names {
		if err := validFolder(name); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%s: %q: given twice", field, name)
		}
		if use, ok := strings.CutPrefix(name, `\`); ok && !isSpecialUse(name) {
			return fmt.Errorf(`%s: %q: no special use; there are \Inbox, \All, \Archive, \Drafts, \Flagged, \Junk, \Sent, \Trash`, field, `\`+use)
		}
	}
	return nil
}

func isSpecialUse(name string) bool {
	return strings.EqualFold(name, `\Inbox`) || slices.ContainsFunc(specialUses, func(use goimap.MailboxAttr) bool { return strings.EqualFold(string(use), name) })
}

// isPattern reports whether a name in the settings stands for folders that only LIST can tell.
func isPattern(name string) bool {
	return strings.HasPrefix(name, `\`) || strings.ContainsAny(name, "*%")
}

// listed reports whether the settings cannot be read without the list of folders.
func (c *Config) listed() bool {
	return slices.ContainsFunc(c.folders(), isPattern) ||
		slices.ContainsFunc(c.ExcludeFolders, func(name string) bool { return strings.HasPrefix(name, `\`) })
}

// fits reports whether a name or pattern of the settings means folder. A folder that has exactly that name does always.
func fits(pattern string, folder *connection.Folder) bool {
	switch {
	case pattern == folder.Name:
		return true
	case strings.EqualFold(pattern, defaultFolder):
		return folder.Name == defaultFolder // RFC 9051, 5.1: in any case
	case strings.EqualFold(pattern, `\Inbox`):
		return folder.Name == defaultFolder
	case strings.HasPrefix(pattern, `\`):
		return strings.EqualFold(pattern, folder.Special)
	}
	return isPattern(pattern) && glob(pattern, folder.Name)
}

// glob matches as LIST does (RFC 9051, 6.3.9): "*" is anything, "%" anything without "/". It takes time in proportion to
// the product of both lengths at most.
func glob(pattern, name string) bool {
	// may[i]: pattern up to here fits name[:i].
	may := make([]bool, len(name)+1)
	may[0] = true
	for p := range len(pattern) {
		c := pattern[p]
		if c == '*' || c == '%' {
			for i := range len(name) {
				if may[i] && (c == '*' || name[i] != '/') {
					may[i+1] = true
				}
			}
			continue
		}
		for i := len(name); i > 0; i-- {
			may[i] = may[i-1] && name[i-1] == c
		}
		may[0] = false
	}
	return may[len(name)]
}

// wants reports whether the settings mean folder.
func (c *Config) wants(folder *connection.Folder) bool {
	means := func(pattern string) bool { return fits(pattern, folder) }
	return slices.ContainsFunc(c.folders(), means) && !slices.ContainsFunc(c.ExcludeFolders, means)
}

// plainFolders returns the folders of settings without patterns.
func (c *Config) plainFolders() []string {
	var names []string
	for _, name := range c.folders() {
		if strings.EqualFold(name, defaultFolder) {
			name = defaultFolder
		}
		if !slices.ContainsFunc(c.ExcludeFolders, func(p string) bool { return fits(p, &connection.Folder{Name: name}) }) {
			names = append(names, name)
		}
	}
	return names
}

// errNoFolder says that the settings mean none of the folders there are.
var errNoFolder = errors.New("the settings mean none of the folders that the server lists")

// pick decides which folders f reads: those of the options, else those of the settings. Names that are not patterns are
// taken as they are, so that one that is missing is an error.
func (f *fetch) pick() error {
	cfg := &f.conn.cfg
	switch {
	case len(f.opts.Folders) > 0:
		f.folders = f.opts.Folders
		return nil
	case !cfg.listed():
		f.folders = cfg.plainFolders()
		return nil
	}
	all, err := f.list()
	if err != nil {
		return err
	}
	f.folders = cfg.among(all)
	if len(f.folders) == 0 {
		e := f.conn.problem(f.op, connection.Ref{}, connection.ErrNotFound, "%w", errNoFolder)
		e.Hint = "folders: " + strings.Join(cfg.Folders, ", ") + ": Folders lists what there is"
		return &final{e}
	}
	return nil
}

// among returns the names of those of all that the settings mean, in the order of the settings.
func (c *Config) among(all []*connection.Folder) []string {
	var names []string
	for _, pattern := range c.folders() {
		if !isPattern(pattern) && !slices.ContainsFunc(all, func(f *connection.Folder) bool { return fits(pattern, f) }) {
			names = append(names, pattern)
			continue
		}
		for _, folder := range all {
			if fits(pattern, folder) && c.wants(folder) && !slices.Contains(names, folder.Name) {
				names = append(names, folder.Name)
			}
		}
	}
	return names
}

// list asks for the folders there are, over f's session.
func (f *fetch) list() (all []*connection.Folder, err error) {
	for {
		err := f.with(func(s *session) error {
			var err error
			all, err = s.list(f.ctx, f.op)
			return err
		})
		if err == nil {
			return all, nil
		}
		if err := f.again(err); err != nil {
			return nil, err
		}
	}
}

// with runs fn with a session, whatever it has selected.
func (f *fetch) with(fn func(*session) error) error {
	if !f.turn.take(f.ctx) {
		return f.endedNow()
	}
	defer f.turn.give()
	if err := f.connected(); err != nil {
		return err
	}
	return fn(f.sess)
}
