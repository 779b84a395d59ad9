package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
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
	chosen, err := mirrored.NewSelection("mailboxes", j.mailboxes)
	if err != nil {
		return nil, err
	}
	if names := chosen.Names(); len(names) > 0 {
		config["mailboxes"] = names // no need to ask the server which there are
	}
	if settings.Config, err = withFields(settings.Config, config); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	// The program links these two drivers and no other.
	c, err := mirrored.OpenAs[server](connection.NewRegistry(ews.Driver(), filestore.Driver()), settings, j.env)
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
