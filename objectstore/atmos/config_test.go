package atmos_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/atmos"
)

func TestConfigErrorsNameTheField(t *testing.T) {
	const good = `"identity":"t/u","credential":"c2VjcmV0","location":"https://atmos.example.org:10080","bucket":"archive"`
	for _, tc := range []struct{ config, want string }{
		{`{` + good + `}`, ""},
		{`{` + strings.Replace(good, "https://", " ", 1) + `}`, ""},
		{`{` + strings.Replace(good, "10080", "10080/", 1) + `}`, ""},
		{`{` + strings.Replace(good, `"identity":"t/u"`, `"identity":""`, 1) + `}`, "config: identity: missing"},
		{`{` + strings.Replace(good, "t/u", `t\nu`, 1) + `}`, "config: identity: holds control characters"},
		{`{` + strings.Replace(good, "c2VjcmV0", "", 1) + `}`, "config: credential: missing"},
		{`{` + strings.Replace(good, "c2VjcmV0", "no base64!", 1) + `}`, "config: credential: not base64"},
		{`{` + strings.Replace(good, "https://atmos.example.org:10080", "", 1) + `}`, "config: location: missing"},
		{`{` + strings.Replace(good, "https://", "ftp://", 1) + `}`, `config: location: scheme "ftp" is not http or https`},
		{`{` + strings.Replace(good, "https://", "https://me:geheim@", 1) + `}`, "config: location: holds a user name or password"},
		{`{` + strings.Replace(good, "https://", "https://me:ge%heim@", 1) + `}`, "config: location: holds a user name or password"},
		{`{` + strings.Replace(good, "10080", "10080/archive", 1) + `}`, "config: location: goes on behind the host"},
		{`{` + strings.Replace(good, "https://atmos.example.org:10080", "https://", 1) + `}`, "config: location: the host is missing"},
		{`{` + strings.Replace(good, `"archive"`, `""`, 1) + `}`, "config: bucket: missing"},
		{`{` + strings.Replace(good, `"archive"`, `"a/b"`, 1) + `}`, `config: bucket: "a/b" is no bucket name of atmos`},
		{`{` + strings.Replace(good, `"archive"`, `".."`, 1) + `}`, `config: bucket: ".." is no bucket name of atmos`},
		{`{` + good + `,"connect_timeout":-1}`, "config: connect_timeout: negative"},
		{`{` + good + `,"workers":-1}`, "config: workers:"},
		{`{` + good + `,"min_tls":"9"}`, "config: min_tls:"},
		{`{` + good + `,"credentials":"x"}`, `did you mean "credential"`},
	} {
		c, err := connection.NewRegistry(atmos.Driver()).Open(connection.Settings{Driver: "atmos", Config: []byte(tc.config)}, nil)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: got %v", tc.config, err)
				continue
			}
			if got := c.Info().Endpoint; got != "atmos.example.org:10080" {
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
		if err != nil && strings.Contains(err.Error(), "heim") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}
