package mirrored

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// OpenStore opens what a flag -to names: the settings file of a store of files, or a folder, which is made if it is new.
func OpenStore(to string, env *connection.Env) (connection.ObjectStore, error) {
	settings := connection.Settings{Driver: filestore.DriverName}
	if info, err := os.Stat(to); err == nil && !info.IsDir() {
		data, err := os.ReadFile(to)
		if err != nil {
			return nil, fmt.Errorf("-to: %w", err)
		}
		if settings, err = connection.ParseSettings(data); err != nil {
			return nil, fmt.Errorf("-to %s: %w", to, err)
		}
	} else {
		location, err := filepath.Abs(to)
		if err == nil {
			err = makeFolder(location)
		}
		if err != nil {
			return nil, fmt.Errorf("-to: %w: name a folder that you may make and write to", err)
		}
		if settings.Config, err = json.Marshal(map[string]string{"location": location}); err != nil {
			return nil, fmt.Errorf("-to: %w", err)
		}
	}
	store, err := OpenAs[connection.ObjectStore](connection.NewRegistry(filestore.Driver()), settings, env)
	if err != nil {
		return nil, fmt.Errorf("-to: %w", err)
	}
	return store, nil
}

// OpenAs opens a connection with one of the drivers of registry, and asserts that it can do what T says.
func OpenAs[T connection.Connection](registry *connection.Registry, settings connection.Settings, env *connection.Env) (T, error) {
	var none T
	c, err := registry.Open(settings, env)
	if err != nil {
		return none, err
	}
	t, err := connection.As[T](c)
	if err != nil {
		return none, errors.Join(err, c.Close())
	}
	return t, nil
}

// makeFolder makes path and what is missing above it, for the user alone, durably.
func makeFolder(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there, and needs no sync
	}
	parent, err := os.Open(above)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// A Selection is which mailboxes a flag asks for. An empty one is all mailboxes.
type Selection []string

// NewSelection returns the selection of a list of addresses and patterns (path.Match) with commas between. flag is named in errors.
func NewSelection(flag, list string) (Selection, error) {
	var s Selection
	for pattern := range strings.SplitSeq(list, ",") {
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		if pattern == "" {
			continue
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("-%s: %q: %w", flag, pattern, err)
		}
		s = append(s, pattern)
	}
	return s, nil
}

// Names returns the addresses asked for, none if there is a pattern among them.
func (s Selection) Names() []string {
	for _, pattern := range s {
		if strings.ContainsAny(pattern, `*?[\`) {
			return nil
		}
	}
	return s
}

// Match reports whether mb is asked for, by any of its addresses or by its name.
func (s Selection) Match(mb *connection.Mailbox) bool {
	for _, pattern := range s {
		for _, name := range append([]string{mb.Name}, mb.Aliases...) {
			if ok, err := path.Match(pattern, strings.ToLower(name)); err == nil && ok {
				return true
			}
		}
	}
	return len(s) == 0
}

// Address returns how people call a mailbox. Its Name may be an id, which outlives a change of address.
func Address(mb *connection.Mailbox) string {
	if len(mb.Aliases) > 0 {
		return mb.Aliases[0]
	}
	return mb.Name
}
