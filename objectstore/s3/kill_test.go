package s3_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/objectstore/s3"
)

// Tests start this binary again as another process, with settings in childSettings, to put the key childKey.
const (
	childSettings = "S3_TEST_SETTINGS"
	childKey      = "S3_TEST_KEY"
)

func TestMain(m *testing.M) {
	if os.Getenv(childSettings) == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child puts an object in parts, and says how far it has come.
func child(ctx context.Context) error {
	c, err := connection.NewRegistry(s3.Driver()).Open(connection.Settings{Driver: "s3", Config: json.RawMessage(os.Getenv(childSettings))}, nil)
	if err != nil {
		return err
	}
	store, err := connection.As[connection.ObjectStore](c)
	if err != nil {
		return err
	}
	_, err = store.Put(ctx, os.Getenv(childKey), bytes.NewReader(interrupted()), &connection.PutOptions{Progress: func(n int64) { fmt.Println(n) }})
	fmt.Println("done")
	return err
}

// TestKilledPuts ends the process that puts, at random moments. The key holds nothing or all of it, and what is left behind
// is listed and removed by the API.
func TestKilledPuts(t *testing.T) {
	m := &minio{MinIOServer: peertest.MinIO(t, nil)}
	m.fresh(t, false)
	config := make(map[string]any)
	if err := json.Unmarshal(m.settings(t).Config, &config); err != nil {
		t.Fatal(err)
	}
	config["single_put_limit"], config["part_size"], config["part_workers"] = 1<<20, 5<<20, 1
	settings, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	c, whole := open(t, m.settings(t), nil, nil), interrupted()
	left := 0
	for i := range 12 {
		key := fmt.Sprintf("killed/%d", i)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childSettings+"="+string(settings), childKey+"="+key)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := rand.IntN(60); n >= 0 && lines.Scan(); n-- {
			if lines.Text() == "done" {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if _, err := c.Stat(t.Context(), key); connection.KindOf(err) != connection.ErrNotFound {
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(get(t, c, key), whole) {
				t.Fatalf("%s is visible, and not whole", key)
			}
			continue
		}
		left += leftovers(t, c, key)
	}
	t.Logf("%d of 12 processes left an upload behind", left)
	if left == 0 {
		t.Error("no process left anything behind: they ended too early to show anything")
	}
}
