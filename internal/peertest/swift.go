package peertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// SwiftOptions are the options of [Swift] and [StartSwift].
type SwiftOptions struct {
	Containers []string      // that are there from the start; nil = {"mail"}
	TokenLife  time.Duration // of the tokens, in whole seconds; 0 = a day
	MaxFile    int64         // the largest object of one request; 0 = 5 GiB and 2 octets
	RateLimit  float64       // writes in a second to a container that is not empty, before 498 is the answer; 0 = no limit
	Dir        string        // where to keep everything, on a file system with user xattrs; "" = os.TempDir
}

// A SwiftServer is an OpenStack Swift all in one: proxy, account, container and object server and memcached, with the
// identity protocol of version 1 (TempAuth). Its fields do not change after the start.
type SwiftServer struct {
	URL     string // "http://127.0.0.1:port"
	AuthURL string // "http://127.0.0.1:port/auth/v1.0"
	User    string // may do everything in its account: "test:tester"
	Key     string
	Reader  string // a user of the same account who may do nothing, with the same key
	TempKey string // of the account, for temporary URLs
	opts    SwiftOptions
	dir     string
	python  string
	servers []*process
}

// errNoXattrs is why Swift's object server cannot keep objects.
var errNoXattrs = errors.New("the file system has no user xattrs")

// Swift starts a Swift that ends with the test. Where it is not installed, or the directory for temporary files has no user
// xattrs, the test is skipped, or fails if the environment has CI=true. opts may be nil.
func Swift(t testing.TB, opts *SwiftOptions) *SwiftServer {
	t.Helper()
	s, err := StartSwift(t.Context(), opts)
	Require(t, err)
	t.Cleanup(func() {
		log := s.Log() // gone with Close
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("swift's log:\n%s", log)
		}
	})
	return s
}

// StartSwift starts a Swift and returns when it has its containers. The caller must Close it; ctx bounds the start alone.
// It runs as root and as an ordinary user. opts may be nil. The error is ErrNotInstalled where it cannot run.
func StartSwift(ctx context.Context, opts *SwiftOptions) (*SwiftServer, error) {
	s := &SwiftServer{User: "test:tester", Reader: "test:reader", Key: rand.Text(), TempKey: rand.Text()}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Containers == nil {
		s.opts.Containers = []string{"mail"}
	}
	if s.opts.MaxFile == 0 {
		s.opts.MaxFile = 5<<30 + 2
	}
	if s.opts.TokenLife == 0 {
		s.opts.TokenLife = 24 * time.Hour
	}
	for _, name := range []string{"swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server", "memcached"} {
		if _, err := program(name); err != nil {
			return nil, err
		}
	}
	// Debian's own: the packages are for no other.
	s.python = "/usr/bin/python3"
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("swift: %w", err), s.Close())
	}
	return s, nil
}

var swiftServers = []string{"account", "container", "object", "proxy"}

// prepare writes the configuration and starts the servers. A port that somebody else took meanwhile is tried again: the
// ports are inside the rings, so everything is made anew.
func (s *SwiftServer) prepare(ctx context.Context) error {
	var err error
	for range startTries {
		if err = s.Close(); err != nil {
			return err
		}
		if err = s.start(ctx); err == nil || errors.Is(err, ErrNotInstalled) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (s *SwiftServer) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var err error
	if s.dir, err = os.MkdirTemp(s.opts.Dir, "sw"); err != nil {
		return err
	}
	const host = "127.0.0.1"
	ports, err := freePorts(host, append([]string{"memcached"}, swiftServers...))
	if err != nil {
		return err
	}
	if err := s.configure(host, ports); err != nil {
		return err
	}
	if err := s.buildRings(ctx, ports); err != nil {
		return err
	}
	s.URL = "http://" + net.JoinHostPort(host, strconv.Itoa(ports["proxy"]))
	s.AuthURL = s.URL + "/auth/v1.0"
	memcached, err := program("memcached")
	if err != nil {
		return err
	}
	who, err := user.Current()
	if err != nil {
		return err
	}
	commands := []*exec.Cmd{exec.Command(memcached, "-l", host, "-p", strconv.Itoa(ports["memcached"]), "-U", "0", "-m", "16", "-u", who.Username)}
	for _, name := range swiftServers {
		cmd := exec.Command(s.python, "-c", swiftRun, s.dir, name)
		cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
		commands = append(commands, cmd)
	}
	for _, cmd := range commands {
		cmd.Dir = s.dir
		p, err := startProcess(cmd)
		if err != nil {
			return err
		}
		s.servers = append(s.servers, p)
	}
	return s.wait(ctx, ports)
}

// buildRings makes the rings, and finds out whether the directory has user xattrs.
func (s *SwiftServer) buildRings(ctx context.Context, ports map[string]int) error {
	args := []string{"-c", swiftRings, s.dir}
	for _, name := range swiftServers[:3] {
		args = append(args, strconv.Itoa(ports[name]))
	}
	out, err := exec.CommandContext(ctx, s.python, args...).CombinedOutput()
	if bytes.Contains(out, []byte(swiftNoXattrs)) {
		return fmt.Errorf("%w in %s: swift %w", errNoXattrs, s.dir, ErrNotInstalled)
	}
	if err != nil {
		return fmt.Errorf("building the rings: %w\n%s", err, out)
	}
	return nil
}

// wait returns when all servers take connections and have made the containers: the proxy says 503 in place of one that
// is not up.
func (s *SwiftServer) wait(ctx context.Context, ports map[string]int) error {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		err := connect(ctx, ports)
		if err == nil {
			err = s.makeContainers(ctx)
		}
		if err == nil {
			return nil
		}
		for _, p := range s.servers {
			if ended := p.running(); ended != nil {
				return ended
			}
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err, errors.New(s.Log()))
		}
	}
}

// connect reports whether each server takes a connection.
func connect(ctx context.Context, ports map[string]int) error {
	for name, port := range ports {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := conn.Close(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *SwiftServer) makeContainers(ctx context.Context) error {
	for _, name := range s.opts.Containers {
		if _, err := s.Request(ctx, http.MethodPut, "/"+name, nil); err != nil {
			return err
		}
	}
	_, err := s.Request(ctx, http.MethodPost, "", http.Header{"X-Account-Meta-Temp-URL-Key": {s.TempKey}})
	return err
}

// Request makes a request without a body as User, for a path below the account: "/container/object". It returns the headers
// of the answer, and an error unless that says yes.
func (s *SwiftServer) Request(ctx context.Context, method, path string, header http.Header) (http.Header, error) {
	h, err := s.LogIn(ctx, s.User)
	if err != nil {
		return nil, err
	}
	header = header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	header.Set("X-Auth-Token", h.Get("X-Auth-Token"))
	return s.request(ctx, method, h.Get("X-Storage-Url")+path, header)
}

// LogIn returns what the server says to a user of its: X-Auth-Token and X-Storage-Url.
func (s *SwiftServer) LogIn(ctx context.Context, user string) (http.Header, error) {
	return s.request(ctx, http.MethodGet, s.AuthURL, http.Header{"X-Auth-User": {user}, "X-Auth-Key": {s.Key}})
}

// request makes a request without a body, and returns the headers of an answer that says yes.
func (s *SwiftServer) request(ctx context.Context, method, url string, header http.Header) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, body)
	}
	return resp.Header, nil
}

// Log returns the last 256 KiB that each of the servers has logged.
func (s *SwiftServer) Log() string {
	var all bytes.Buffer
	for _, p := range s.servers {
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(p.cmd.Path), p.log)
	}
	return all.String()
}

// Close ends the servers and removes all that belongs to them.
func (s *SwiftServer) Close() error {
	var errs []error
	for _, p := range s.servers {
		errs = append(errs, p.kill())
	}
	s.servers = nil
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
		s.dir = ""
	}
	return errors.Join(errs...)
}
