package azureblob_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/azureblob"
)

// An azurite is a real server with one container after the other.
type azurite struct {
	*peertest.AzuriteServer
	n         atomic.Int64
	container string
}

// fresh makes a container and returns the library's client for it.
func (a *azurite) fresh(t testing.TB) *container.Client {
	t.Helper()
	a.container = fmt.Sprintf("mail%d", a.n.Add(1))
	cred, err := blob.NewSharedKeyCredential(a.Account, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	options := &container.ClientOptions{}
	options.PerCallPolicies = []policy.Policy{version{}}
	c, err := container.NewClientWithSharedKeyCredential(a.URL+"/"+a.container, cred, options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// version makes the library speak as Azurite does, whose versions are behind.
type version struct{}

func (version) Do(req *policy.Request) (*http.Response, error) {
	delete(req.Raw().Header, "x-ms-version") //nolint:staticcheck // the library's spelling
	req.Raw().Header.Set("X-Ms-Version", "2021-12-02")
	return req.Next()
}

func (a *azurite) config() azureblob.Config {
	return azureblob.Config{Settings: objectstore.Settings{
		Identity: a.Account, Credential: connection.NewSecret(a.Key), Location: a.URL, Bucket: a.container,
	}}
}

func open(t testing.TB, cfg azureblob.Config, env *connection.Env) *azureblob.Conn {
	t.Helper()
	c, err := azureblob.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Tiers, snapshots, copies and signed URLs on a real server.
func TestAzurite(t *testing.T) {
	a := &azurite{AzuriteServer: peertest.Azurite(t, nil)}
	client := a.fresh(t)
	cfg := a.config()
	cfg.SinglePutLimit, cfg.PartSize = 10, 10
	c := open(t, cfg, nil)
	ctx := t.Context()

	t.Run("report", func(t *testing.T) {
		report, err := c.Test(ctx, &connection.TestOptions{Write: true})
		if err != nil {
			t.Fatalf("%v\n%s", err, report)
		}
	})
	t.Run("tiers", func(t *testing.T) {
		for _, tier := range []string{"Hot", "Cool", "Cold", "Archive"} {
			for key, text := range map[string]string{"one": "text", "parts": long} {
				put(t, c, tier+"/"+key, text, &connection.PutOptions{Class: tier, Meta: map[string]string{"Message-ID": "<ü@b>"}})
				info, err := c.Stat(ctx, tier+"/"+key)
				if err != nil || info.Class != tier || info.Meta["Message-ID"] != "<ü@b>" || (info.Restore == connection.RestoreNeeded) != (tier == "Archive") {
					t.Errorf("stat tells %+v, error %v", info, err)
				}
			}
		}
		wants(t, "get of what is archived", second(c.Get(ctx, "Archive/one", nil)), connection.ErrArchived)
		_, err := c.Put(ctx, "Archive/one", strings.NewReader("new"), nil)
		wants(t, "put over it", err, connection.ErrArchived)
		_, err = c.Put(ctx, "Archive/one", strings.NewReader("new"), &connection.PutOptions{IfAbsent: true})
		wants(t, "put if absent", err, connection.ErrExists)
		if err := c.Restore(ctx, "Archive/one", time.Hour); err != nil {
			t.Fatal(err)
		}
		holds(t, c, "Archive/one", "text") // Azurite rehydrates at once
	})
	t.Run("copies", func(t *testing.T) {
		from := put(t, c, "from", long, &connection.PutOptions{Meta: map[string]string{"a": "b"}, ContentType: "message/rfc822"})
		for key, opts := range map[string]*connection.PutOptions{
			"copy/as it is": nil, "copy/other": {Meta: map[string]string{"c": "d"}, ContentType: "message/rfc822"},
			"copy/type": {Meta: map[string]string{"c": "d"}, ContentType: "text/plain"},
		} {
			if _, err := c.Copy(ctx, key, "from", opts); err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			info, err := c.Stat(ctx, key)
			if err != nil || info.SHA256 != from.SHA256 || len(info.Meta) != 1 || opts != nil && (info.Meta["c"] != "d" || info.ContentType != opts.ContentType) {
				t.Errorf("%s: stat tells %+v, error %v", key, info, err)
			}
			holds(t, c, key, long)
		}
	})
	t.Run("snapshots", func(t *testing.T) {
		put(t, c, "snap", "text", nil)
		if _, err := client.NewBlobClient("snap").CreateSnapshot(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(ctx, "snap"); err != nil {
			t.Error(err)
		}
		wants(t, "stat", second(c.Stat(ctx, "snap")), connection.ErrNotFound)
	})
	t.Run("presign", func(t *testing.T) { checkPresign(t, c) })
	t.Run("no locks", func(t *testing.T) {
		put(t, c, "key", "text", nil)
		wants(t, "lock", c.Lock(ctx, "key", connection.Lock{LegalHold: true}), connection.ErrUnsupported)
	})
}

// What another process puts in parts is this when childKey is set.
const (
	childKey     = "AZUREBLOB_TEST_KEY"
	childAccount = "AZUREBLOB_TEST_CONTAINER"
)

func interrupted() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 1<<17) }

// E17, and promise 5: the process that puts is killed at random moments. The key holds nothing or all of it, and what is
// left behind is listed and removed.
func TestKilledPuts(t *testing.T) {
	a := &azurite{AzuriteServer: peertest.Azurite(t, nil)}
	a.fresh(t)
	c := open(t, a.config(), nil)
	left, whole := 0, interrupted()
	for i := range 10 {
		key := fmt.Sprintf("killed/%d", i)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildOfKilledPuts$", "-test.v")
		cmd.Env = append(os.Environ(), childServer+"="+a.URL, childAccount+"="+a.container, childKey+"="+key)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 2 + rand.IntN(40); n > 0 && lines.Scan(); n-- {
			if strings.HasPrefix(lines.Text(), "done") {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		switch got, err := read(t.Context(), c, key); {
		case err == nil && got != string(whole):
			t.Errorf("%s holds %d octets, which are not what was put", key, len(got))
		case err != nil && connection.KindOf(err) != connection.ErrNotFound:
			t.Fatal(err)
		}
	}
	for _, one := range unfinished(t, c) {
		left++
		if time.Since(one.Started).Abs() > time.Hour || !strings.HasPrefix(one.Key, "killed/") {
			t.Errorf("left behind: %+v", one)
		}
	}
	if left == 0 {
		t.Error("no process was killed in the middle of its put")
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("removed %d that are not an hour old, error %v", n, err)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); n != left || err != nil {
		t.Errorf("removed %d of %d, error %v", n, left, err)
	}
	if now := unfinished(t, c); len(now) > 0 {
		t.Errorf("still there: %+v", now)
	}
}

func TestChildOfKilledPuts(t *testing.T) {
	name := os.Getenv(childKey)
	if name == "" {
		t.Skip("this is the other process of TestKilledPuts")
	}
	cfg := azureblob.Config{Settings: settings("devstoreaccount1", os.Getenv(childServer), os.Getenv(childAccount))}
	cfg.SinglePutLimit, cfg.PartSize, cfg.PartWorkers = 1<<16, 1<<17, 1
	_, err := open(t, cfg, nil).Put(t.Context(), name, bytes.NewReader(interrupted()), &connection.PutOptions{Progress: func(n int64) { fmt.Println(n) }})
	fmt.Println("done", err)
}
