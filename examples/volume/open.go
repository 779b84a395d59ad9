package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
)

// openStore opens the object store that a settings file describes; a folder is a store of files.
func openStore(path string, env *connection.Env) (connection.ObjectStore, error) {
	settings, err := settingsOf(path)
	if err != nil {
		return nil, fmt.Errorf("-settings %s: %w", path, err)
	}
	c, err := alldrivers.New().Open(settings, env)
	if err != nil {
		return nil, fmt.Errorf("-settings %s: %w", path, err)
	}
	store, err := connection.As[connection.ObjectStore](c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("-settings %s: %w", path, err), c.Close())
	}
	return store, nil
}

func settingsOf(path string) (connection.Settings, error) {
	info, err := os.Stat(path)
	if err != nil {
		return connection.Settings{}, fmt.Errorf("%w: want a settings file or a folder; samples are in examples/archive/settings", err)
	}
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		if err != nil {
			return connection.Settings{}, err
		}
		return connection.ParseSettings(data)
	}
	location, err := filepath.Abs(path)
	if err != nil {
		return connection.Settings{}, err
	}
	config, err := json.Marshal(map[string]string{"location": location})
	return connection.Settings{Driver: "file", Config: config}, err
}
