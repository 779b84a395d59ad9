package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/examples/internal/mailarchive"
	"github.com/mailconn/mailconn/internal/peertest"
)

// peers are the object stores that run on this machine.
func peers(t *testing.T) map[string]func(t *testing.T) string {
	t.Helper()
	return map[string]func(t *testing.T) string{
		"minio": func(t *testing.T) string {
			srv := peertest.MinIO(t, nil)
			return settingsFile(t, "minio", map[string]any{
				"identity": srv.AccessKey, "credential": srv.SecretKey, "location": srv.URL, "bucket": "archive", "max_elapsed": "20s",
			})
		},
		"swift": func(t *testing.T) string {
			srv := peertest.Swift(t, nil)
			return settingsFile(t, "swift", map[string]any{
				"identity": srv.User, "credential": srv.Key, "location": srv.AuthURL, "bucket": "mail", "max_elapsed": "20s",
			})
		},
		"azurite": func(t *testing.T) string {
			srv := peertest.Azurite(t, nil)
			return settingsFile(t, "azureblob", map[string]any{
				"identity": srv.Account, "credential": srv.Key, "location": srv.URL, "bucket": srv.Container, "max_elapsed": "20s",
			})
		},
	}
}

// 2,000 messages go from Dovecot into each store, over lines that are cut and while the program is killed again and again.
func TestStoresKill(t *testing.T) {
	for name, start := range peers(t) {
		t.Run(name, func(t *testing.T) {
			const kills = 6
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			to := start(t)
			srv := peertest.Dovecot(t, nil)
			proxy := peertest.NewProxy(t, srv.Addr("imap"))
			proxy.Plan(peertest.RandomCuts(seed, 2_000_000))
			from := imapSettings(t, proxy.Addr(), srv.User, srv.Password, "insecure", "", map[string]any{"expunge_every": 50})
			raws := realistic(2000, seed)
			srv.Deliver(srv.User, raws...)
			for killed := 0; killed < kills; killed++ {
				killAt(t, time.Duration(200+random.IntN(1500))*time.Millisecond, "-from", from, "-to", to)
			}
			for try := 0; srv.Count(srv.User, "INBOX") > 0; try++ {
				if try == 100 {
					t.Fatalf("%d messages cannot be drained", srv.Count(srv.User, "INBOX"))
				}
				if r := runArgs(t, "-from", from, "-to", to); r.code != exitOK && r.code != exitFailed {
					t.Fatalf("exit code %d\n%s%s", r.code, r.out, r.errOut)
				}
			}
			wantStored(t, to, raws)
			runArgs(t, "-verify", to).want(t, exitOK, "the archive is whole")
		})
	}
}

// killAt runs the program and kills it after d, unless it ends by itself.
func killAt(t *testing.T, d time.Duration, args ...string) {
	t.Helper()
	cmd := command(t, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(d, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer timer.Stop()
	_ = cmd.Wait() // the code says it
	if code := cmd.ProcessState.ExitCode(); code != exitOK && code != exitFailed && code != -1 {
		t.Fatalf("exit code %d\n%s", code, output.String())
	}
}

// wantStored reads all messages of a store by the library, and compares their octets with what was delivered.
func wantStored(t *testing.T, settings string, raws [][]byte) {
	t.Helper()
	store, err := openStore(settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	want := map[string]bool{}
	for _, raw := range raws {
		sum := sha256.Sum256(raw)
		want[mailarchive.MessageKey(hex.EncodeToString(sum[:]))] = true
	}
	for info, err := range store.List(t.Context(), &connection.ListOptions{Prefix: mailarchive.MessagesPrefix}) {
		if err != nil {
			t.Fatal(err)
		}
		if !want[info.Key] {
			t.Errorf("%s is no message that was delivered", info.Key)
			continue
		}
		delete(want, info.Key)
		if err := wantDigest(t.Context(), store, info.Key); err != nil {
			t.Error(err)
		}
	}
	for key := range want {
		t.Errorf("%s is missing", key)
	}
}

func wantDigest(ctx context.Context, store connection.ObjectStore, key string) error {
	object, err := store.Get(ctx, key, nil)
	if err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, object.Body); err != nil {
		return errors.Join(err, object.Body.Close())
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); mailarchive.MessageKey(sum) != key {
		return fmt.Errorf("%s holds %s", key, sum)
	}
	return object.Body.Close()
}

func TestStoresTest(t *testing.T) {
	for name, start := range peers(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			data, err := os.ReadFile(start(t))
			if err != nil {
				t.Fatal(err)
			}
			wrong := strings.Replace(string(data), `"bucket":"`, `"bucket":"no-such-`, 1)
			path := dir + "/wrong.json"
			if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
				t.Fatal(err)
			}
			from := settingsFile(t, "maildir", map[string]any{"path": dir, "delete_mode": "none"})
			runArgs(t, "-test", "-keep", "-from", from, "-to", path).want(t, exitFailed, "Bucket UID")
		})
	}
}
