package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mirrored"
	"github.com/mailconn/mailconn/gmail"
)

// openGmail opens the connection that -settings describes, or -credentials and -admin. What the driver must remember is kept in
// memory, if there is one.
func (j *job) openGmail(memory *state) (*gmail.Conn, error) {
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
		if memory != nil {
			opts.State = memory
		}
		return gmail.New(config, env, &opts)
	})
	c, err := mirrored.OpenAs[*gmail.Conn](connection.NewRegistry(driver), settings, j.env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}
