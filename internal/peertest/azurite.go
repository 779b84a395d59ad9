package peertest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// azuriteVersion is what .ci/peer-azurite installs.
const azuriteVersion = "3.37.0"

// AzuriteOptions are the options of [Azurite] and [StartAzurite].
type AzuriteOptions struct {
	Containers []string // that are there from the start; nil = {"mail"}
	Dir        string   // its working directory is made there; "" = os.TempDir
}

// An AzuriteServer is a running Azurite that keeps everything in memory. It speaks the protocol of Azure Blob Storage over
// plain HTTP. Its fields do not change after the start.
type AzuriteServer struct {
	URL       string // with the account: "http://127.0.0.1:port/devstoreaccount1"
	Account   string
	Key       string // base64
	Container string // the first of AzuriteOptions.Containers

	opts    AzuriteOptions
	dir     string
	process *process
}

// Azurite starts an Azurite that ends with the test. Where it is not installed the test is skipped, or fails if the
// environment has CI=true. opts may be nil.
func Azurite(t testing.TB, opts *AzuriteOptions) *AzuriteServer {
	t.Helper()
	s, err := StartAzurite(t.Context(), opts)
	Require(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("azurite's log:\n%s", s.Log())
		}
	})
	return s
}

// StartAzurite starts an Azurite and returns when it has its containers. The caller must Close it; ctx bounds the start
// alone. opts may be nil. The error is ErrNotInstalled if there is no Azurite.
func StartAzurite(ctx context.Context, opts *AzuriteOptions) (*AzuriteServer, error) {
	s := &AzuriteServer{
		Account: "devstoreaccount1", // the one that Azurite's documentation gives, with its key
		Key:     "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
	}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Containers == nil {
		s.opts.Containers = []string{"mail"}
	}
	s.Container = s.opts.Containers[0]
	peers, err := peersDir()
	if err != nil {
		return nil, err
	}
	modules := filepath.Join(peers, "azurite-"+azuriteVersion, "node_modules")
	node, main := filepath.Join(modules, "node", "bin", "node"), filepath.Join(modules, "azurite", "dist", "src", "blob", "main.js")
	for _, path := range []string{node, main} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("azurite %w (.ci/peer-azurite; %w)", ErrNotInstalled, err)
		}
	}
	if s.dir, err = os.MkdirTemp(s.opts.Dir, "az"); err != nil {
		return nil, fmt.Errorf("azurite: %w", err)
	}
	if err := s.start(ctx, node, main); err != nil {
		return nil, errors.Join(fmt.Errorf("azurite: %w", err), s.Close())
	}
	return s, nil
}

// start runs the server and waits until it has made its containers.
func (s *AzuriteServer) start(ctx context.Context, node, main string) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	const host = "127.0.0.1"
	ports, err := freePorts(host, []string{"blob"})
	if err != nil {
		return err
	}
	port := strconv.Itoa(ports["blob"])
	s.URL = "http://" + net.JoinHostPort(host, port) + "/" + s.Account
	// On disk, a block that is cut off may land in the middle of the next one: it closes a file that is still being written.
	// Without --skipApiVersionCheck it refuses versions of the protocol that are younger than itself, as other servers do.
	cmd := exec.Command(node, main, "--blobHost", host, "--blobPort", port, "--inMemoryPersistence", "--silent", "--disableTelemetry")
	cmd.Dir = s.dir
	if s.process, err = startProcess(cmd); err != nil {
		return err
	}
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for made := 0; made < len(s.opts.Containers); {
		err := s.createContainer(ctx, s.opts.Containers[made])
		if err == nil {
			made++
			continue
		}
		select {
		case <-retry.C:
		case <-s.process.done:
			return err // Close tells why it ended
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err, errors.New(s.Log()))
		}
	}
	return nil
}

// createContainer makes a request with a signature of the kind SharedKey.
func (s *AzuriteServer) createContainer(ctx context.Context, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+"/"+name+"?restype=container", http.NoBody)
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	req.Header.Set("x-ms-date", date)
	req.Header.Set("x-ms-version", "2021-12-02")
	key, err := base64.StdEncoding.DecodeString(s.Key)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:2021-12-02\n/%s%s\nrestype:container", date, s.Account, req.URL.EscapedPath()) // a hash never fails
	req.Header.Set("Authorization", "SharedKey "+s.Account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("making the container %s: %s: %s", name, resp.Status, body)
	}
	return nil
}

// peersDir is where peers are that Debian does not have: scripts in .ci install them.
func peersDir() (string, error) {
	if dir := os.Getenv("MAILCONN_PEERS"); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "mailconn-peers"), nil
}

// Log returns the last 256 KiB that the server has logged.
func (s *AzuriteServer) Log() string {
	if s.process == nil {
		return ""
	}
	return s.process.log.String()
}

// Close ends the server and removes all that belongs to it.
func (s *AzuriteServer) Close() error {
	var err error
	if s.process != nil {
		err = s.process.kill()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
