package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
)

// maxRSS is what a program that drains mail may hold in memory, all of it counted, whatever the mail.
const maxRSS = 64 * megabyte

// TestMemoryOfDraining runs the drain as a program of its own, without the race detector, and asks the kernel for the
// largest resident set that it had.
func TestMemoryOfDraining(t *testing.T) {
	if testing.Short() {
		t.Skip("drains 200 MB and 20,000 messages: not in short mode")
	}
	program := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []struct {
		name string
		mail canned
	}{
		{"large", corpus{count: 1, min: 200 * megabyte, max: 200 * megabyte}.slices()},
		{"small", corpus{count: 20_000, min: 3 << 10, max: 6 << 10}.kept()},
	} {
		address, capem := serveTLS(t, test.mail)
		for _, way := range []task{{Sink: "discard", Workers: 1}, {Sink: "files", Workers: 1}, {Sink: "store", Workers: 16}} {
			t.Run(test.name+"/"+way.Sink, func(t *testing.T) {
				way.Kind, way.Driver, way.Dir = "drain", "imap", shortDir(t)
				way.Config = map[string]any{
					"server": address, "mode": "tls", "username": "user", "password": "password", "ca_pem": capem,
				}
				input, err := json.Marshal(way)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), program, childArgument)
				cmd.Stdin = bytes.NewReader(input)
				var complaint bytes.Buffer
				cmd.Stderr = &complaint
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, &complaint)
				}
				var got tally
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatal(err)
				}
				if err := got.check(test.mail.count, test.mail.octets()); err != nil {
					t.Error(err)
				}
				if got.PeakRSS == 0 || got.PeakRSS > maxRSS {
					t.Errorf("peak RSS %s, want at most %s", megabytes(got.PeakRSS), megabytes(maxRSS))
				}
				t.Logf("peak RSS %s", megabytes(got.PeakRSS))
			})
		}
	}
}

// serveTLS starts a canned server behind TLS, until the test ends. capem is what a client has to trust.
func serveTLS(t *testing.T, mail canned) (address, capem string) {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil)
	borrowed.Close()
	settings := &tls.Config{Certificates: borrowed.TLS.Certificates, MinVersion: tls.VersionTLS12}
	srv, err := startServer(func(conn net.Conn) error { return mail.serveIMAP(tls.Server(conn, settings)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.close(); err != nil {
			t.Error(err)
		}
	})
	return srv.address(), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: borrowed.Certificate().Raw}))
}
