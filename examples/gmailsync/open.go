package main

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
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// openGmail opens the connection that -settings describes, or -credentials and -admin. What the driver must remember is kept in
// archive, if there is one.
func (j *job) openGmail(archive *Archive) (*gmail.Conn, error) {
	settings := connection.Settings{Driver: gmail.DriverName}
	name := "-settings " + j.settings
	if j.settings != "" {
		data, err := os.ReadFile(j.settings)
		if err != nil {
			return nil, fmt.Errorf("-settings: %w: samples are in examples/gmailsync/settings", err)
		}
		if settings, err = connection.ParseSettings(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	} else {
		name = "-credentials " + j.credentials
		key, err := os.ReadFile(j.credentials)
		if err != nil {
			return nil, fmt.Errorf("-credentials: %w", err)
		}
		if settings.Config, err = json.Marshal(map[string]string{"credentials": string(key), "admin": j.admin}); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	// gmail.Driver() would open the connection without a memory of its own.
	driver := connection.NewDriver(gmail.DriverName, func(config gmail.Config, env *connection.Env) (*gmail.Conn, error) {
		var opts gmail.Options
		if archive != nil {
			opts.State = state{archive.store}
		}
		return gmail.New(config, env, &opts)
	})
	c, err := openAs[*gmail.Conn](driver, settings, j.env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// openStore opens what -to names: the settings file of a store, or a folder, which is made if it is new.
func (j *job) openStore() (connection.ObjectStore, error) {
	settings := connection.Settings{Driver: filestore.DriverName}
	if info, err := os.Stat(j.to); err == nil && !info.IsDir() {
		data, err := os.ReadFile(j.to)
		if err != nil {
			return nil, fmt.Errorf("-to: %w", err)
		}
		if settings, err = connection.ParseSettings(data); err != nil {
			return nil, fmt.Errorf("-to %s: %w", j.to, err)
		}
	} else {
		location, err := filepath.Abs(j.to)
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
	store, err := openAs[connection.ObjectStore](filestore.Driver(), settings, j.env)
	if err != nil {
		return nil, fmt.Errorf("-to: %w", err)
	}
	return store, nil
}

// openAs opens a connection with the one driver that will do, and asserts that it can do what T says.
func openAs[T connection.Connection](driver connection.Driver, settings connection.Settings, env *connection.Env) (T, error) {
	var none T
	c, err := connection.NewRegistry(driver).Open(settings, env)
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

// A selection is what -filter asks for. An empty one is all mailboxes.
type selection []string

func newSelection(list string) (selection, error) {
	var s selection
	for pattern := range strings.SplitSeq(list, ",") {
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		if pattern == "" {
			continue
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("-filter: %q: %w", pattern, err)
		}
		s = append(s, pattern)
	}
	return s, nil
}

// match reports whether mb is asked for, by any of its addresses or by its id.
func (s selection) match(mb *connection.Mailbox) bool {
	for _, pattern := range s {
		for _, name := range append([]string{mb.Name}, mb.Aliases...) {
			if ok, err := path.Match(pattern, strings.ToLower(name)); err == nil && ok {
				return true
			}
		}
	}
	return len(s) == 0
}

// address returns how people call a mailbox. Its Name is the id of its user, which outlives a change of address.
func address(mb *connection.Mailbox) string {
	if len(mb.Aliases) > 0 {
		return mb.Aliases[0]
	}
	return mb.Name
}
