package s3_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/s3"
)

// TestKeysFromAProgram is E44: keys that a program's source gives are asked for once, and anew when they have expired.
func TestKeysFromAProgram(t *testing.T) {
	srv := objecttest.NewS3(t, &objecttest.S3Options{SecretKey: "secret of a role", SessionToken: "second"})
	asked, broken := 0, false
	source := func(context.Context) (s3.Keys, error) {
		if broken {
			return s3.Keys{}, errors.New("no answer from the metadata service")
		}
		asked++
		token := []string{"", "first", "second", "third"}[asked]
		return s3.Keys{AccessKey: "AKIDEXAMPLE", SecretKey: connection.NewSecret("secret of a role"), SessionToken: connection.NewSecret(token), Expires: time.Now().Add(time.Hour)}, nil
	}
	config := s3.Config{Settings: objectstore.Settings{Location: srv.URL(), Bucket: "archive"}, Keys: source}
	c, err := s3.Open(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if asked != 0 {
		t.Error("Open asks for keys")
	}
	put(t, c, "k", make([]byte, 100_000), nil) // the first token is refused
	put(t, c, "l", []byte("mail"), nil)
	if asked != 2 {
		t.Errorf("asked for keys %d times, want twice", asked)
	}
	if got := len(srv.Objects()["k"]); got != 100_000 {
		t.Errorf("the object has %d octets", got)
	}

	srv.Fail("GetObject", 2, objecttest.Status(400, "<Error><Code>ExpiredToken</Code></Error>"))
	_, err = c.Get(t.Context(), "k", nil)
	wantKind(t, "a token that never is good", err, connection.ErrAuth)
	if asked != 3 {
		t.Errorf("asked for keys %d times, want three times", asked)
	}

	broken = true
	config.Keys = source
	other, err := s3.Open(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, err = other.Get(t.Context(), "k", nil)
	wantKind(t, "no keys", err, connection.ErrAuth)

	config.Settings.Identity = "AKIDEXAMPLE"
	if _, err := s3.Open(config, nil); connection.KindOf(err) != connection.ErrConfig {
		t.Errorf("keys from two sides: got %v", err)
	}
}
