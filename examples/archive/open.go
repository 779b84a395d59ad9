package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

// openSource opens the settings file of -from.
func openSource(path string, env *connection.Env) (connection.Source, error) {
	return openFile[connection.Source]("-from", path, env)
}

// openStore opens what -to names: the settings file of an object store, or a folder, which is made if it is new.
func openStore(path string, env *connection.Env) (connection.ObjectStore, error) {
	if !isFolder(path) {
		return openFile[connection.ObjectStore]("-to", path, env)
	}
	if err := makeFolder(path); err != nil {
		return nil, &connection.Error{
			Op: "open", Kind: connection.KindOf(err), Err: fmt.Errorf("-to: %w", err),
			Hint: "name a folder that you may make and write to",
		}
	}
	return openFolder("-to", path, env)
}

// openArchive opens what -verify names, and makes nothing.
func openArchive(path string, env *connection.Env) (connection.ObjectStore, error) {
	if !isFolder(path) {
		return openFile[connection.ObjectStore]("-verify", path, env)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("-verify: %w", err)
	}
	return openFolder("-verify", path, env)
}

// openFile opens the connection that a settings file describes.
func openFile[T connection.Connection](flag, path string, env *connection.Env) (T, error) {
	var none T
	data, err := os.ReadFile(path)
	if err != nil {
		return none, fmt.Errorf("%s: %w: want a settings file; samples are in examples/archive/settings", flag, err)
	}
	settings, err := connection.ParseSettings(data)
	if err != nil {
		return none, fmt.Errorf("%s %s: %w", flag, path, err)
	}
	c, err := openAs[T](settings, env)
	if err != nil {
		return none, fmt.Errorf("%s %s: %w", flag, path, err)
	}
	return c, nil
}

func openFolder(flag, path string, env *connection.Env) (connection.ObjectStore, error) {
	location, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	config, err := json.Marshal(map[string]string{"location": location})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	store, err := openAs[connection.ObjectStore](connection.Settings{Driver: "file", Config: config}, env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return store, nil
}

// openAs opens a connection and asserts that it can do what T says.
func openAs[T connection.Connection](settings connection.Settings, env *connection.Env) (T, error) {
	var none T
	c, err := alldrivers.New().Open(settings, env)
	if err != nil {
		return none, err
	}
	t, err := connection.As[T](c)
	if err != nil {
		return none, errors.Join(err, c.Close())
	}
	return t, nil
}

// isFolder reports whether path is meant as a folder: it is one, or it is not there and does not look like a settings file.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return !strings.EqualFold(filepath.Ext(path), ".json")
	}
	return info.IsDir()
}

// makeFolder makes path and what is missing above it, for the user alone, durably: an archive must not vanish with its
// folder when the power fails.
func makeFolder(path string) error {
	path = filepath.Clean(path)
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
