package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
	"github.com/mailconn/mailconn/internal/peertest"
)

// Whatever is wrong with the source: the error names the setting, the archive stays empty, the mailbox full. -test says
// the same.
func TestBadSource(t *testing.T) {
	srv := peertest.Dovecot(t, &peertest.DovecotOptions{Hosts: []string{"mail.example.org"}})
	raws := realistic(20, 1)
	srv.Deliver(srv.User, raws...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedPort := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	const wrong = "wrong-password-canary"
	imap, imaps := srv.Addr("imap"), srv.Addr("imaps")
	named := map[string]any{"server_name": "mail.example.org"}
	tests := []struct {
		name, server, password, mode, caPEM string
		extra                               map[string]any
		want                                string
	}{
		{"wrong password", imap, wrong, "insecure", "", nil, "password"},
		{"unknown host", "no-such-host.invalid:993", srv.Password, "tls", "", nil, "server"},
		{"closed port", closedPort, srv.Password, "tls", "", nil, "server"},
		{"certificate for another name", imaps, srv.Password, "tls", srv.CAPEM, nil, "server_name"},
		{"unknown authority", imaps, srv.Password, "tls", "", named, "ca_pem"},
		{"TLS to a plaintext port", imap, srv.Password, "tls", srv.CAPEM, named, "mode"},
		{"plaintext to a TLS port", imaps, srv.Password, "insecure", "", nil, "mode"},
		{"STARTTLS to a TLS port", imaps, srv.Password, "starttls", srv.CAPEM, named, "mode"},
		{"missing folder", imap, srv.Password, "insecure", "", map[string]any{"folders": []string{"Nowhere"}}, "folders"},
		{"nothing is to be deleted", imap, srv.Password, "insecure", "", map[string]any{"delete_mode": "none"}, "delete_mode"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.extra = withDefault(test.extra, "no_data_timeout", "1s")
			from := imapSettings(t, test.server, srv.User, test.password, test.mode, test.caPEM, test.extra)
			dir := t.TempDir()
			r := runArgs(t, "-from", from, "-to", dir)
			r.want(t, exitFailed, test.want)
			if test.mode != "insecure" || test.extra["delete_mode"] == nil {
				runArgs(t, "-test", "-from", from).want(t, exitFailed, test.want, "Hint: ")
			}
			for _, secret := range []string{srv.Password, wrong} {
				if strings.Contains(r.out+r.errOut, secret) {
					t.Errorf("the output holds a password:\n%s%s", r.out, r.errOut)
				}
			}
			if left := srv.Count(srv.User, "INBOX"); left != len(raws) {
				t.Errorf("%d messages are in the mailbox, want all %d", left, len(raws))
			}
		})
	}
}

func withDefault(m map[string]any, name string, value any) map[string]any {
	out := map[string]any{name: value}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// demoServer starts a server with raws in its INBOX, and returns settings that empty it.
func demoServer(t *testing.T, raws [][]byte) (*imaptest.Server, string) {
	t.Helper()
	srv := imaptest.NewServer(t, nil)
	srv.Deliver(raws...)
	c := srv.Config()
	return srv, imapSettings(t, c.Server, c.Username, c.Password.Reveal(), string(c.Mode.Or()), c.CAPEM, nil)
}

func TestBadDestination(t *testing.T) {
	raws := samples(20, 5)
	srv, from := demoServer(t, raws)
	file := filepath.Join(t.TempDir(), "a-file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "not-there")
	tests := []struct{ name, to, want string }{
		{"folder below a file", filepath.Join(file, "archive"), "-to"},
		{"settings file that is not there", "nowhere.json", "samples are in examples/archive/settings"},
		{"settings file without settings", file, "driver: missing"},
		{"location that is not there", settingsFile(t, "file", map[string]any{"location": missing}), "location"},
		{"relative location", settingsFile(t, "file", map[string]any{"location": "archive"}), "location"},
		{"unknown field", settingsFile(t, "file", map[string]any{"lokation": "/tmp"}), `did you mean "location"?`},
		{"unknown driver", settingsFile(t, "flie", nil), `did you mean "file"?`},
		{"mail server", from, "Put"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			runArgs(t, "-from", from, "-to", test.to).want(t, exitFailed, test.want)
			if left := len(srv.Messages()); left != len(raws) {
				t.Errorf("%d messages are on the server, want all %d", left, len(raws))
			}
		})
	}
}

func TestBadSettings(t *testing.T) {
	write := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "mail.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct{ name, text, want string }{
		{"unknown field", `{"driver":"imap","config":{"servr":"x"}}`, `"servr": unknown field; did you mean "server"?`},
		{"unknown outer field", `{"drivr":"imap"}`, `did you mean "driver"?`},
		{"wrong type", `{"driver":"imap","config":{"server":5}}`, "server: got a number, want a string"},
		{"no JSON", `{"driver":`, "JSON"},
		{"missing field", `{"driver":"imap","config":{"server":"x"}}`, "username: missing"},
		{"redacted password", `{"driver":"imap","config":{"server":"x","username":"u","password":"[redacted]"}}`, "password"},
		{"store as a source", `{"driver":"file","config":{"location":"/tmp"}}`, "Fetch"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			runArgs(t, "-from", path, "-to", t.TempDir()).want(t, exitFailed, path, test.want)
		})
	}
	for _, path := range []string{"nowhere.json", t.TempDir()} {
		runArgs(t, "-from", path, "-to", t.TempDir()).want(t, exitFailed, path, "samples are in examples/archive/settings")
	}
}

// quietJob is a job as -json runs it, with its output thrown away.
func quietJob() *job {
	p := newPrinter(io.Discard, io.Discard, true)
	return &job{options: options{workers: 4}, printer: p, env: p.env(false)}
}

// keyOf returns the key of a message.
func keyOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return mailarchive.MessageKey(hex.EncodeToString(sum[:]))
}

// A fullStore takes 20 objects below prefix.
type fullStore struct {
	connection.ObjectStore
	prefix string
	count  atomic.Int64
}

func (s *fullStore) Put(ctx context.Context, key string, r io.Reader, opts *connection.PutOptions) (connection.ObjectInfo, error) {
	if strings.HasPrefix(key, s.prefix) && s.count.Add(1) > 20 {
		return connection.ObjectInfo{}, &connection.Error{Op: "put", Driver: "memory", Kind: connection.ErrQuota, Hint: "location: the disk is full"}
	}
	return s.ObjectStore.Put(ctx, key, r, opts)
}

// A store that is full in the middle: what it holds is gone from the source, what it does not hold is still there.
func TestFullStore(t *testing.T) {
	raws := samples(200, 6)
	for _, prefix := range []string{mailarchive.MessagesPrefix, mailarchive.ManifestsPrefix} {
		t.Run(strings.Trim(prefix, "/"), func(t *testing.T) {
			srv, _ := demoServer(t, raws)
			config := srv.Config()
			config.DeleteMode = imapclient.DeleteExpunge
			source, err := imapclient.Open(config, nil)
			if err != nil {
				t.Fatal(err)
			}
			store := &fullStore{ObjectStore: connectiontest.NewObjectStore(), prefix: prefix}
			stats, err := quietJob().drain(t.Context(), source, store)
			if !errors.Is(err, connection.ErrQuota) || !strings.Contains(err.Error(), "location") {
				t.Errorf("got %v, want ErrQuota with its hint", err)
			}
			if err := source.Close(); err != nil {
				t.Fatal(err)
			}
			left := srv.Messages()
			safe := map[string]bool{}
			for _, m := range left {
				safe[keyOf(m.Raw)] = true
			}
			for e, err := range mailarchive.Entries(t.Context(), store) {
				if err != nil {
					t.Fatal(err)
				}
				safe[e.Key] = true
			}
			for i, raw := range raws {
				if !safe[keyOf(raw)] {
					t.Errorf("message %d is neither at the source nor in the archive with its manifest line", i)
				}
			}
			if stats.Deleted != int64(len(raws)-len(left)) || stats.Deleted > stats.Stored {
				t.Errorf("got %+v, and %d messages left", stats, len(left))
			}
		})
	}
}

// With -json every line of standard output is one object, whatever happens.
func TestJSON(t *testing.T) {
	raws := samples(30, 10)
	srv, from := demoServer(t, raws)
	dir := t.TempDir()
	bad := settingsFile(t, "imap", map[string]any{"server": "x"})
	tests := []struct {
		name   string
		args   []string
		code   int
		events string
	}{
		{"test", []string{"-test", "-from", from, "-to", dir}, exitOK, "report report"},
		{"archive", []string{"-from", from, "-to", dir}, exitOK, "start done"},
		{"verify", []string{"-verify", dir}, exitOK, "verified"},
		{"failure", []string{"-from", bad, "-to", dir}, exitFailed, "failed"},
		{"demonstration", []string{"-to", t.TempDir()}, exitOK, "start done verified demonstrated"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := runArgs(t, append(test.args, "-json")...)
			r.want(t, test.code)
			var events []string
			for line := range strings.Lines(r.out) {
				var object map[string]any
				if err := json.Unmarshal([]byte(line), &object); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				name, _ := object["event"].(string)
				if object[name] == nil || object["time"] == nil {
					t.Errorf("%q: want the fields time and %s", line, name)
				}
				if name != "progress" {
					events = append(events, name)
				}
			}
			if got := strings.Join(events, " "); got != test.events {
				t.Errorf("got events %s, want %s\n%s", got, test.events, r.out)
			}
		})
	}
	if left := len(srv.Messages()); left != 0 {
		t.Errorf("%d messages are still on the server", left)
	}
}

func TestReportOfBothEnds(t *testing.T) {
	srv, from := demoServer(t, samples(5, 11))
	dir := filepath.Join(t.TempDir(), "archive")
	r := runArgs(t, "-test", "-from", from, "-to", dir)
	r.want(t, exitOK, "-from: ", "-to: ", "auth", "write", "remove", "Everything works.")
	if files := archived(t, dir); len(files) != 0 || len(srv.Messages()) != 5 {
		t.Errorf("-test moved mail: %d in the archive, %d on the server", len(files), len(srv.Messages()))
	}
	bad := settingsFile(t, "file", map[string]any{"location": filepath.Join(dir, "not-there")})
	runArgs(t, "-test", "-from", from, "-to", bad).want(t, exitFailed, "Hint: ", "location")
}

// -v logs the protocol, and no secret.
func TestVerboseKeepsSecrets(t *testing.T) {
	const canary = "canary-in-the-password"
	srv := imaptest.NewServer(t, &imaptest.Options{Mode: connection.ModeInsecure, Password: canary})
	srv.Deliver(samples(3, 17)...)
	from := imapSettings(t, srv.Addr(), imaptest.DefaultUsername, canary, "insecure", "", nil)
	r := runArgs(t, "-v", "-from", from, "-to", t.TempDir())
	r.want(t, exitOK, "Stored 3 messages", "SELECT")
	for name, secret := range map[string]string{
		"plain": canary, "base64": base64.StdEncoding.EncodeToString([]byte(canary)),
		"SASL PLAIN": base64.StdEncoding.EncodeToString([]byte("\x00" + imaptest.DefaultUsername + "\x00" + canary)),
	} {
		if strings.Contains(r.out+r.errOut, secret) {
			t.Errorf("the output holds the password, %s", name)
		}
	}
}
