package pop3client_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// A vault is a sink that remembers what it stored.
type vault struct {
	mu  sync.Mutex
	all map[string]int // by octets; how often
}

func (v *vault) store(_ context.Context, m *connection.Message) error {
	raw, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil {
		v.all = make(map[string]int)
	}
	v.all[string(raw)]++
	return nil
}

// complete reports what of raws is missing, and what is there that is none of them.
func (v *vault) complete(raws [][]byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := make(map[string]bool)
	for _, raw := range raws {
		if known[string(raw)] = true; v.all[string(raw)] == 0 {
			return fmt.Errorf("%.40q is not stored", raw)
		}
	}
	for raw := range v.all {
		if !known[raw] {
			return fmt.Errorf("what is stored is no whole message: %.40q, %d octets", raw, len(raw))
		}
	}
	return nil
}

// lost reports the messages that are neither at the server nor stored, and the torn ones.
func (v *vault) lost(srv *pop3test.Server, raws [][]byte) error {
	there := make(map[string]bool)
	for _, m := range srv.Messages() {
		there[string(m.Raw)] = true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	known := make(map[string]bool)
	for _, raw := range raws {
		if known[string(raw)] = true; v.all[string(raw)] == 0 && !there[string(raw)] {
			return fmt.Errorf("lost: %.40q", raw)
		}
	}
	for raw := range v.all {
		if !known[raw] {
			return fmt.Errorf("torn: %.40q, %d octets", raw, len(raw))
		}
	}
	return nil
}

// A session that drains 20 messages is cut after each of its octets. No message is ever lost or torn; afterwards a new
// program, which knows nothing of the first, brings it to its end.
func TestCutAtEveryOctet(t *testing.T) {
	raws := letters(20)
	for _, how := range []struct {
		name    string
		opts    pop3test.Options
		every   int
		workers int
	}{
		{"pipelined", pop3test.Options{Mode: connection.ModeInsecure}, 500, 1},
		{"one by one", pop3test.Options{Mode: connection.ModeInsecure, Without: []string{"PIPELINING"}}, 3, 4},
	} {
		t.Run(how.name, func(t *testing.T) {
			drain := func(srv *pop3test.Server, a *vault) error {
				cfg := deleting(srv.Config(), how.every)
				cfg.AuthMechanisms = []string{"user-pass"}
				c, err := pop3client.Open(cfg, nil)
				if err != nil {
					return err
				}
				_, err = connection.Drain(t.Context(), c, a.store, &connection.DrainOptions{Workers: how.workers, Batch: 4, RetryDelay: time.Millisecond})
				if err != nil {
					_ = c.Close() // err says more
					return err
				}
				return c.Close()
			}
			opts := how.opts
			whole := pop3test.NewServer(t, &opts)
			whole.Deliver(raws...)
			if err := drain(whole, &vault{}); err != nil {
				t.Fatal(err)
			}
			total := whole.Sent()[0]
			step := int64(1)
			if testing.Short() {
				step = 37
			}
			cut := func(at int64) error {
				opts := how.opts
				srv, err := pop3test.Listen(&opts)
				if err != nil {
					return err
				}
				defer srv.Close()
				srv.Deliver(raws...)
				srv.CutAfter(at)
				a := &vault{}
				first := drain(srv, a)
				if err := a.lost(srv, raws); err != nil {
					return fmt.Errorf("%w (drain: %s)", err, fmt.Sprint(first))
				}
				srv.ClearFaults()
				if err := drain(srv, a); err != nil {
					return fmt.Errorf("second run: %w", err)
				}
				if n := len(srv.Messages()); n != 0 {
					return fmt.Errorf("%d messages are left at the end", n)
				}
				return a.complete(raws)
			}
			const atOnce = 8 // they mostly wait
			var wg sync.WaitGroup
			for worker := range int64(atOnce) {
				wg.Go(func() {
					for at := worker * step; at <= total && !t.Failed(); at += atOnce * step {
						if err := cut(at); err != nil {
							t.Errorf("cut after %d of %d octets: %v", at, total, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// The environment of a child that drains.
const (
	childEnv   = "POP3CLIENT_TEST_DRAIN" // the settings
	childVault = "POP3CLIENT_TEST_VAULT" // the folder
)

// TestMain is the child of TestKilled if the environment says so.
func TestMain(m *testing.M) {
	if settings := os.Getenv(childEnv); settings != "" {
		if err := drainInto([]byte(settings), os.Getenv(childVault)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// drainInto drains a mailbox into a folder, each message a file that is written under another name first.
func drainInto(settings []byte, dir string) error {
	var s connection.Settings
	if err := json.Unmarshal(settings, &s); err != nil {
		return err
	}
	c, err := connection.NewRegistry(pop3client.Driver()).Open(s, nil)
	if err != nil {
		return err
	}
	store := func(_ context.Context, m *connection.Message) error {
		raw, err := io.ReadAll(m.Body)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		name := filepath.Join(dir, hex.EncodeToString(sum[:]))
		if err := os.WriteFile(name+".tmp"+fmt.Sprint(os.Getpid()), raw, 0o600); err != nil {
			return err
		}
		return os.Rename(name+".tmp"+fmt.Sprint(os.Getpid()), name)
	}
	src, err := connection.As[connection.Source](c)
	if err != nil {
		return err
	}
	if _, err := connection.Drain(context.Background(), src, store, &connection.DrainOptions{RetryDelay: time.Millisecond}); err != nil {
		_ = c.Close() // err says more
		return err
	}
	return c.Close()
}

// A program that drains over a line that is cut all the time is killed at random moments, and started again until the
// mailbox is empty: every message is in the folder, whole.
func TestKilled(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 2
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	srv := pop3test.NewServer(t, &pop3test.Options{Mode: connection.ModeInsecure})
	var raws [][]byte
	deliver := func() {
		for range 400 {
			raw := fmt.Appendf(nil, "Subject: letter %d of %d\r\n\r\n", len(raws), seed)
			for range 20 + random.IntN(60) {
				raw = fmt.Appendf(raw, ".%x\r\n", random.Uint64())
			}
			raws = append(raws, raw)
			srv.Deliver(raw)
		}
	}
	proxy := peertest.NewProxy(t, srv.Addr())
	proxy.Plan(peertest.RandomCuts(seed, 400_000))
	settings, err := json.Marshal(connection.Settings{Driver: pop3client.DriverName, Config: fmt.Appendf(nil,
		`{"server":%q,"mode":"insecure","allow_plaintext_auth":true,"username":%q,"password":%q,"delete_mode":"delete","expunge_every":40}`,
		proxy.Addr(), pop3test.DefaultUsername, pop3test.DefaultPassword)})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for run := 0; killed < kills || len(srv.Messages()) > 0; run++ {
		if run == 300 {
			t.Fatalf("%d messages cannot be drained", len(srv.Messages()))
		}
		if killed < kills && len(srv.Messages()) < 200 {
			deliver()
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+string(settings), childVault+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = cmd.Wait() // killed, or cut: what counts is where the mail is
		}()
		if killed < kills {
			moment := time.NewTimer(time.Duration(10+random.IntN(100)) * time.Millisecond)
			select {
			case <-moment.C:
				_ = cmd.Process.Kill() // it may be through
				killed++
			case <-done:
			}
			moment.Stop()
		}
		<-done
		stored := storedIn(t, dir)
		there := make(map[string]bool)
		for _, m := range srv.Messages() {
			there[string(m.Raw)] = true
		}
		for _, raw := range raws {
			sum := sha256.Sum256(raw)
			if !stored[hex.EncodeToString(sum[:])] && !there[string(raw)] {
				t.Fatalf("run %d: a message is neither at the server nor stored", run)
			}
		}
	}
	stored := storedIn(t, dir)
	if len(stored) != len(raws) {
		t.Errorf("%d files, want %d", len(stored), len(raws))
	}
	t.Logf("%d kills, %s", killed, proxy.Stats())
}

// storedIn returns the names of the whole files, each of which is held against its content.
func storedIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for _, e := range entries {
		if filepath.Ext(e.Name()) != "" {
			continue // half written by a program that was killed
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(raw)
		if hex.EncodeToString(sum[:]) != e.Name() {
			t.Errorf("%s is torn", e.Name())
		}
		all[e.Name()] = true
	}
	return all
}
