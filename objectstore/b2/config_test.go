package b2_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/b2"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	const good = `"identity":"005abc","credential":"K005x","bucket":"4a48fe8875c6214145260818"`
	for _, tc := range []struct{ config, want string }{
		{`{` + good + `}`, ""},
		{`{` + good + `,"location":"api.backblazeb2.com/"}`, ""},
		{`{` + good + `,"location":"http://b2.example.org","allow_plaintext_auth":true,"encryption":"sse-b2","retention_mode":"compliance"}`, ""},
		{`{` + strings.Replace(good, "005abc", "", 1) + `}`, "config: identity: missing"},
		{`{` + strings.Replace(good, "005abc", "a:b", 1) + `}`, "config: identity: holds a colon"},
		{`{` + strings.Replace(good, "K005x", "", 1) + `}`, "config: credential: missing"},
		{`{` + strings.Replace(good, "4a48fe8875c6214145260818", "", 1) + `}`, "config: bucket: missing"},
		{`{` + strings.Replace(good, "4a48fe8875c6214145260818", "a_b", 1) + `}`, `config: bucket: "a_b" is no bucket name of b2`},
		{`{` + good + `,"location":"ftp://x"}`, `config: location: scheme "ftp" is not http or https`},
		{`{` + good + `,"location":"https://me:geheim@x"}`, "config: location: holds a user name or password"},
		{`{` + good + `,"location":"https://x/archive"}`, "config: location: want https://host:port"},
		{`{` + good + `,"location":"http://b2.example.org"}`, "config: location: over http the credential"},
		{`{` + good + `,"retention_mode":"for ever"}`, "config: retention_mode:"},
		{`{` + good + `,"encryption":"rot13"}`, "config: encryption:"},
		{`{` + good + `,"part_size":1000000}`, "config: part_size: 1000000: this store wants parts of at least 5000000"},
		{`{` + good + `,"single_put_limit":5000000001}`, "config: single_put_limit:"},
		{`{` + good + `,"connect_timeout":-1}`, "config: connect_timeout: negative"},
		{`{` + good + `,"max_attempts":-1}`, "config: max_attempts:"},
		{`{` + good + `,"min_tls":"9"}`, "config: min_tls:"},
		{`{` + good + `,"bukket":"x"}`, `did you mean "bucket"`},
	} {
		c, err := connection.NewRegistry(b2.Driver()).Open(connection.Settings{Driver: "b2", Config: []byte(tc.config)}, nil)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: got %v", tc.config, err)
				continue
			}
			if got := c.Info().Endpoint; got != "api.backblazeb2.com" && got != "b2.example.org" {
				t.Errorf("%s: got endpoint %q", tc.config, got)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, connection.ErrConfig) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.config, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}
