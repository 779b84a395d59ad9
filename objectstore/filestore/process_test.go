package filestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// Tests start this binary again as another process: childMode says what it is to do, childDir in which store.
const (
	childMode = "FILESTORE_TEST_CHILD"
	childDir  = "FILESTORE_TEST_DIR"
)

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	c, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: os.Getenv(childDir)}}, nil)
	if err == nil {
		err = restrain()
	}
	if err == nil {
		err = children[mode](context.Background(), c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var children = map[string]func(context.Context, *filestore.Conn) error{"writer": childWriter, "racer": childRacer, "putter": childPutter, "one": childOne}

// childWriter puts, replaces and deletes for ever, and prints what has been promised, after it was: one line each.
func childWriter(ctx context.Context, c *filestore.Conn) error {
	// The number of the life keeps what this one puts apart from what others did.
	life := strconv.Itoa(os.Getpid())
	for i := 1; ; i++ {
		content := strings.Repeat(fmt.Sprintf("message %s.%d\r\n", life, i), 1+i%7*3000)
		key := addressed(content)
		if _, err := c.Put(ctx, key, strings.NewReader(content), &connection.PutOptions{IfAbsent: true}); err != nil {
			return err
		}
		fmt.Println("put", key, sum(content))
		version := strconv.FormatInt(time.Now().UnixNano(), 10)
		opts := &connection.PutOptions{Meta: map[string]string{"version": version}}
		if _, err := c.Put(ctx, "state/current", strings.NewReader(strings.Repeat(version+"\n", 1+i%3*5000)), opts); err != nil {
			return err
		}
		fmt.Println("state", version)
		if i%3 == 0 {
			if err := c.Delete(ctx, key); err != nil {
				return err
			}
			fmt.Println("deleted", key)
		}
		key = fmt.Sprintf("extra/%s/%d", life, i)
		if _, err := c.Put(ctx, key, strings.NewReader(key), &connection.PutOptions{IfAbsent: true, ContentType: "text/plain"}); err != nil {
			return err
		}
		fmt.Println("put", key, sum(key))
	}
}

// childRacer puts many keys that others put too, and prints those that it won.
func childRacer(ctx context.Context, c *filestore.Conn) error {
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	for i := range racedKeys {
		key, content := racedKey(i, strconv.Itoa(os.Getpid()))
		_, err := c.Put(ctx, key, strings.NewReader(content), &connection.PutOptions{IfAbsent: true})
		switch {
		case err == nil:
			fmt.Println("won", key, sum(content))
		case !errors.Is(err, connection.ErrExists):
			return err
		}
	}
	return nil
}

const racedKeys = 100

// racedKey returns a key that all put alike, or one that each puts in its own way.
func racedKey(i int, who string) (key, content string) {
	if i%2 == 0 {
		content = fmt.Sprintf("the same %d", i)
		return addressed(content), content
	}
	return fmt.Sprintf("d/%d", i), fmt.Sprintf("%d of %s", i, who)
}

// childPutter tries one put and prints its error.
func childPutter(ctx context.Context, c *filestore.Conn) error {
	_, err := c.Put(ctx, "new/key", strings.NewReader(strings.Repeat("x", 1<<20)), nil)
	var e *connection.Error
	if errors.As(err, &e) {
		fmt.Printf("%s|%s|%v\n", e.Kind, e.Hint, err)
	}
	return nil
}

// childOne puts two objects: one that needs no sidecar, and one that does.
func childOne(ctx context.Context, c *filestore.Conn) error {
	_, plain := c.Put(ctx, addressed("one"), strings.NewReader("one"), &connection.PutOptions{IfAbsent: true})
	_, other := c.Put(ctx, "dir/k", strings.NewReader("two"), nil)
	return errors.Join(plain, other)
}

func child(t *testing.T, mode, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+mode, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestKilledWriterKeepsItsPromises(t *testing.T) {
	dir := t.TempDir()
	promised := map[string]string{}
	state, promises := "", 0
	for range 30 {
		cmd := child(t, "writer", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		unsettled := "" // a delete may have begun since this key was put
		kill := 1 + rand.IntN(12)
		for n := 1; lines.Scan(); n++ {
			if n == kill {
				time.AfterFunc(rand.N(4*time.Millisecond), func() { _ = cmd.Process.Kill() })
			}
			switch f := strings.Fields(lines.Text()); f[0] {
			case "put":
				promised[f[1]] = f[2]
				if strings.HasPrefix(f[1], "messages/") {
					unsettled = f[1]
				} else {
					unsettled = ""
				}
			case "state":
				state = f[1]
			case "deleted":
				delete(promised, f[1])
				unsettled = ""
			}
			promises++
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the writer ended by itself: %v", err)
		}
		c := open(t, dir)
		if unsettled != "" {
			if _, err := c.Stat(t.Context(), unsettled); errors.Is(err, connection.ErrNotFound) {
				delete(promised, unsettled)
			}
		}
		for key, digest := range promised {
			got, err := tryGet(t.Context(), c, key, nil)
			if err != nil || sum(got) != digest {
				t.Fatalf("promised %s, but: %d octets, %v", key, len(got), err)
			}
		}
		if state != "" {
			o, err := c.Get(t.Context(), "state/current", nil)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(o.Body)
			if err := errors.Join(err, o.Body.Close()); err != nil {
				t.Fatal(err)
			}
			version, _, _ := strings.Cut(string(data), "\n")
			if version < state || o.Meta["version"] != version {
				t.Fatalf("version %s with metadata %v; %s was promised", version, o.Meta, state)
			}
		}
		for _, key := range list(t, c, nil) {
			get(t, c, key, nil) // whole, whatever it is
		}
		// Besides objects there are sidecars, and unfinished files in .tmp.
		for _, name := range files(t, dir) {
			if name[0] != '.' && !strings.HasSuffix(name, ".eml") && !strings.HasSuffix(name, "%f") && !strings.HasSuffix(name, "%m") {
				t.Errorf("left behind: %s", name)
			}
		}
	}
	c := open(t, dir)
	left := 0
	for _, err := range c.Incomplete(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		left++
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(-time.Hour)); err != nil || n != 0 {
		t.Errorf("removed %d young files, %v", n, err)
	}
	if n, err := c.AbortIncomplete(t.Context(), time.Now().Add(time.Hour)); err != nil || n != left {
		t.Errorf("removed %d of %d files, %v", n, left, err)
	}
	for _, name := range files(t, filepath.Join(dir, ".tmp")) {
		t.Errorf("still there: %s", name)
	}
	t.Logf("%d promises kept, %d objects, %d unfinished files removed", promises, len(promised), left)
}

func TestIfAbsentBetweenProcesses(t *testing.T) {
	dir := t.TempDir()
	const racers = 4
	type proc struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Scanner
	}
	var procs []proc
	for range racers {
		cmd := child(t, "racer", dir)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := proc{cmd, in, bufio.NewScanner(out)}
		if !p.out.Scan() {
			t.Fatal("a racer did not start")
		}
		procs = append(procs, p)
	}
	for _, p := range procs {
		if _, err := io.WriteString(p.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	winner := map[string]string{}
	for _, p := range procs {
		for p.out.Scan() {
			f := strings.Fields(p.out.Text())
			if other, ok := winner[f[1]]; ok {
				t.Errorf("%s was won twice: %s and %s", f[1], other, f[2])
			}
			winner[f[1]] = f[2]
		}
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	c := open(t, dir)
	for i := range racedKeys {
		key, _ := racedKey(i, "")
		if got := sum(get(t, c, key, nil)); got != winner[key] {
			t.Errorf("%s holds %s, the winner put %q", key, got, winner[key])
		}
	}
}

// TestHalfReplacedObject takes the states that a halt between two steps of a Put leaves, and those of a restored backup.
func TestHalfReplacedObject(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	meta := func(v string) *connection.PutOptions { return &connection.PutOptions{Meta: map[string]string{"v": v}} }
	put(t, c, "k", "one", meta("1"))
	data, sidecar := filepath.Join(dir, "k%f"), filepath.Join(dir, "k%f%m")
	old, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", "two", meta("2"))
	check := func(what, content, version string) {
		t.Helper()
		info, err := c.Stat(t.Context(), "k")
		if err != nil || info.Meta["v"] != version || info.SHA256 != sum(content) {
			t.Errorf("%s: got %+v, %v; want version %s", what, info, err, version)
		}
		if got := get(t, c, "k", nil); got != content {
			t.Errorf("%s: got %q, want %q", what, got, content)
		}
	}
	check("replaced", "two", "2")
	if err := os.Chtimes(data, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	check("restored without its time", "two", "2")
	if err := errors.Join(os.WriteFile(data, old, 0o600), os.Chtimes(data, stat.ModTime(), stat.ModTime())); err != nil {
		t.Fatal(err)
	}
	check("halted before the data was replaced", "one", "1")
	if err := os.Chtimes(data, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	check("the same, restored without its time", "one", "1")
	put(t, c, "k", "three", meta("3"))
	check("replaced after that", "three", "3")
	if err := os.Remove(data); err != nil { // as if the first Put had been halted
		t.Fatal(err)
	}
	_, err = c.Stat(t.Context(), "k")
	wantKind(t, err, connection.ErrNotFound)
	put(t, c, "k", "four", &connection.PutOptions{IfAbsent: true})
	check("put beside a lone sidecar", "four", "")
	if err := os.WriteFile(sidecar, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(t.Context(), "k", nil)
	wantKind(t, err, connection.ErrCorrupt)
}
