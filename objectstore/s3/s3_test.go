package s3_test

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/s3"
)

// open opens the settings of a fake, with further ones on top.
func open(t testing.TB, settings connection.Settings, env *connection.Env, more map[string]any) *s3.Conn {
	t.Helper()
	config := make(map[string]any)
	if err := json.Unmarshal(settings.Config, &config); err != nil {
		t.Fatal(err)
	}
	for name, value := range more {
		config[name] = value
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	settings.Config = raw
	c, err := connection.NewRegistry(append(s3.Aliases(), s3.Driver())...).Open(settings, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.(*s3.Conn)
}

func TestSmoke(t *testing.T) {
	srv := objecttest.NewS3(t, nil)
	c := open(t, srv.Settings(), nil, nil)
	ctx := t.Context()
	info, err := c.Put(ctx, "a/b é+ %&?#", bytes.NewReader([]byte("hello")), &connection.PutOptions{ContentType: "message/rfc822", Meta: map[string]string{"Foo_bar": "é ü", "x": "=?utf-8?q?a?="}})
	t.Log(info, err)
	for _, r := range srv.Requests() {
		t.Log(r.Op, r.Method, r.Path, r.Query, r.Status, r.Header)
	}
	info, err = c.Stat(ctx, "a/b é+ %&?#")
	t.Logf("%+v %v", info, err)
	o, err := c.Get(ctx, "a/b é+ %&?#", nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(o.Body)
	t.Log(string(raw), err, o.Body.Close())
	_, err = c.Put(ctx, "c", bytes.NewReader([]byte("hello")), &connection.PutOptions{IfAbsent: true})
	t.Log(err)
	_, err = c.Put(ctx, "c", bytes.NewReader([]byte("hello")), &connection.PutOptions{IfAbsent: true})
	t.Log(err)
	_, err = c.Put(ctx, "big", bytes.NewReader(make([]byte, 20<<20)), &connection.PutOptions{IfAbsent: true})
	t.Log(err)
	info, err = c.Copy(ctx, "big2", "big", &connection.PutOptions{IfAbsent: true})
	t.Log(info, err)
	info, err = c.Copy(ctx, "c2", "c", nil)
	t.Log(info, err)
	for info, err := range c.List(ctx, nil) {
		t.Log(info, err)
	}
	_, err = c.Stat(ctx, "none")
	t.Log(err)
	t.Log(c.Delete(ctx, "c", "none", "c2"))
	for _, r := range srv.Requests() {
		t.Log(r.Op, r.Method, r.Path, r.Query, r.Status)
	}
	url, err := c.Presign(ctx, "GET", "big", 1e12)
	t.Log(url.Reveal(), err)
}
