package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// A server is what this program needs an Exchange server for.
type server interface {
	connection.Connection
	connection.MailboxSyncer
}

// openServer opens the connection that -settings describes, or -server and its companions.
func (j *job) openServer() (server, error) {
	settings := connection.Settings{Driver: ews.DriverName}
	config := make(map[string]any)
	name := "-server"
	if j.settings != "" {
		name = "-settings " + j.settings
		data, err := os.ReadFile(j.settings)
		if err != nil {
			return nil, fmt.Errorf("-settings: %w: a sample is in examples/ewssync/settings", err)
		}
		if settings, err = connection.ParseSettings(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	} else {
		password, err := j.password()
		if err != nil {
			return nil, fmt.Errorf("-password-file: %w", err)
		}
		config["server"], config["username"], config["password"] = j.server, j.username, password
	}
	chosen, err := newSelection(j.mailboxes)
	if err != nil {
		return nil, err
	}
	if names := chosen.names(); len(names) > 0 {
		config["mailboxes"] = names // no need to ask the server which there are
	}
	if settings.Config, err = withFields(settings.Config, config); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c, err := openAs[server](settings, j.env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// password reads the first line of -password-file.
func (j *job) password() (string, error) {
	r := j.stdin
	if j.passwordFile != "-" {
		f, err := os.Open(j.passwordFile)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // it was only read
		r = f
	}
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && err != io.EOF { //nolint:errorlint // only the bare one is the end
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("its first line is empty")
	}
	return line, nil
}

// withFields returns config, a JSON object, with some of its fields replaced. Only what has to be known of it is decoded:
// the driver says what is wrong with the rest.
func withFields(config json.RawMessage, with map[string]any) (json.RawMessage, error) {
	if len(with) == 0 {
		return config, nil
	}
	all := make(map[string]json.RawMessage)
	if len(config) > 0 {
		if err := json.Unmarshal(config, &all); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	for name, value := range with {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		all[name] = raw
	}
	return json.Marshal(all)
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
	store, err := openAs[connection.ObjectStore](settings, j.env)
	if err != nil {
		return nil, fmt.Errorf("-to: %w", err)
	}
	return store, nil
}

// openAs opens a connection and asserts that it can do what T says. The program links these two drivers and no other.
func openAs[T connection.Connection](settings connection.Settings, env *connection.Env) (T, error) {
	var none T
	c, err := connection.NewRegistry(ews.Driver(), filestore.Driver()).Open(settings, env)
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

// A selection is what -mailboxes asks for. An empty one is all mailboxes.
type selection []string

func newSelection(list string) (selection, error) {
	var s selection
	for pattern := range strings.SplitSeq(list, ",") {
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		if pattern == "" {
			continue
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("-mailboxes: %q: %w", pattern, err)
		}
		s = append(s, pattern)
	}
	return s, nil
}

// names returns the addresses asked for, none if there is a pattern among them.
func (s selection) names() []string {
	for _, pattern := range s {
		if strings.ContainsAny(pattern, `*?[\`) {
			return nil
		}
	}
	return s
}

// match reports whether mb is asked for.
func (s selection) match(mb *connection.Mailbox) bool {
	for _, pattern := range s {
		if ok, err := path.Match(pattern, strings.ToLower(mb.Name)); err == nil && ok {
			return true
		}
	}
	return len(s) == 0
}
