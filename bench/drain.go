package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/internal/rss"
)

// A task is what a child is to do.
type task struct {
	Kind    string `json:"kind"` // what do knows
	Dir     string `json:"dir,omitempty"`
	Sync    bool   `json:"sync,omitempty"`
	Workers int    `json:"workers,omitempty"`
	Profile string `json:"profile,omitempty"` // file that gets the CPU profile; none if empty

	// Of raw-imap, raw-pop3 and raw-delete.
	Address  string `json:"address,omitempty"`
	TLS      bool   `json:"tls,omitempty"`
	CAPEM    string `json:"ca_pem,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`

	// Of drain, objects, raw-objects and stream. Of the objects Sink is put or get, and Address a prefix.
	Driver string         `json:"driver,omitempty"`
	Config map[string]any `json:"config,omitempty"`
	Sink   string         `json:"sink,omitempty"` // discard, files, store
	Delete bool           `json:"delete,omitempty"`

	// Of delete, besides Driver and Config.
	Batch int `json:"batch,omitempty"` // messages with one call; of send: Sends at once a connection

	// Of raw-smtp, net-smtp, send and stream: how many messages of how many octets. Of raw-idle and idle: how many are delivered,
	// one after the other, into the Maildir Dir.
	Messages int `json:"messages,omitempty"`
	Size     int `json:"size,omitempty"`
}

// child does the task that it reads, and writes its tally.
func child(ctx context.Context, in io.Reader, out io.Writer) error {
	var t task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return err
	}
	done, err := t.profiled(func() (tally, error) { return t.do(ctx) })
	if err != nil {
		return err
	}
	if peak, err := rss.Peak(os.Getpid()); err == nil {
		done.PeakRSS = peak
	}
	return json.NewEncoder(out).Encode(done)
}

func (t *task) do(ctx context.Context) (tally, error) {
	switch t.Kind {
	case "raw-imap":
		return rawIMAP(*t)
	case "raw-pop3":
		return rawPOP3(*t)
	case "raw-maildir":
		return rawMaildir(*t)
	case "raw-delete":
		return rawDelete(*t)
	case "raw-drain":
		return rawDrain(*t)
	case "raw-smtp":
		return rawSMTP(*t)
	case "net-smtp":
		return netSMTP(*t)
	case "raw-idle":
		return rawIdle(ctx, *t)
	case "idle":
		return idle(ctx, *t)
	case "send":
		return send(ctx, *t)
	case "drain":
		return drain(ctx, *t)
	case "delete":
		return remove(ctx, *t)
	case "objects":
		return objects(ctx, *t)
	case "raw-objects":
		return rawObjects(ctx, *t)
	case "stream":
		return stream(ctx, *t)
	}
	return tally{}, fmt.Errorf("task %q", t.Kind)
}

// profiled runs work, under the CPU profiler if a profile is wanted.
func (t *task) profiled(work func() (tally, error)) (done tally, err error) {
	if t.Profile == "" {
		return work()
	}
	f, err := os.Create(t.Profile)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return tally{}, err
	}
	defer pprof.StopCPUProfile()
	return work()
}

// drain is this module at work: connection.Drain from any source that its settings name.
func drain(ctx context.Context, t task) (done tally, err error) {
	registry := alldrivers.New()
	c, err := open(registry, t.Driver, t.Config)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	src, err := connection.As[connection.Source](c)
	if err != nil {
		return tally{}, err
	}
	var sink connection.Sink
	switch t.Sink {
	case "discard":
		sink = discard
	case "files":
		sink = files(t.Dir, t.Sync)
	case "store":
		var closeStore func() error
		if sink, closeStore, err = store(registry, t); err != nil {
			return tally{}, err
		}
		defer func() { err = errors.Join(err, closeStore()) }()
	default:
		return tally{}, fmt.Errorf("sink %q", t.Sink)
	}
	var failures []error
	stats, err := connection.Drain(ctx, src, sink, &connection.DrainOptions{
		Keep: !t.Delete, Workers: t.Workers,
		OnError: func(_ connection.Ref, err error) { failures = append(failures, err) },
	})
	if err == nil && stats.Failed > 0 {
		err = errors.Join(failures...)
	}
	return tally{Messages: int(stats.Stored), Octets: stats.Bytes}, err
}

// open opens a connection by a driver's name and settings, as a host does.
func open(registry *connection.Registry, driver string, config map[string]any) (connection.Connection, error) {
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	return registry.Open(connection.Settings{Driver: driver, Config: raw}, nil)
}

func discard(_ context.Context, m *connection.Message) error {
	_, err := io.Copy(io.Discard, m.Body)
	return err
}

// files stores each message as a file, as mail programs do: under another name first, then renamed.
func files(dir string, sync bool) connection.Sink {
	var last atomic.Int64
	return func(_ context.Context, m *connection.Message) error {
		name := filepath.Join(dir, strconv.FormatInt(last.Add(1), 10))
		f, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, m.Body)
		if sync && err == nil {
			err = f.Sync()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		return rename(name+".tmp", name)
	}
}

// store puts each message under its SHA-256 into a file store: synced as the store does it, or not at all.
func store(registry *connection.Registry, t task) (connection.Sink, func() error, error) {
	durability := "none"
	if t.Sync {
		durability = "full"
	}
	if err := os.Mkdir(filepath.Join(t.Dir, "mail"), 0o700); err != nil {
		return nil, nil, err
	}
	c, err := open(registry, "file", map[string]any{"location": t.Dir, "bucket": "mail", "sync": durability})
	if err != nil {
		return nil, nil, err
	}
	vol, err := connection.As[connection.Putter](c)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	sink := func(ctx context.Context, m *connection.Message) error {
		// The key is the hash, so the body is read twice. With several workers Drain has spooled it already.
		body, ok := m.Body.(io.ReadSeeker)
		if !ok {
			spooled, err := connection.Spool(m, nil)
			if err != nil {
				return err
			}
			defer func() { _ = spooled.Close() }() // nothing of it is needed any more
			body = spooled.Reader()
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, body); err != nil {
			return err
		}
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		sum := hex.EncodeToString(hash.Sum(nil))
		_, err := vol.Put(ctx, "messages/"+sum[:2]+"/"+sum[2:4]+"/"+sum+".eml", body, &connection.PutOptions{IfAbsent: true})
		return err
	}
	return sink, c.Close, nil
}

// rename is rename(2) alone, as mail programs call it: os.Rename looks at the new name first.
func rename(from, to string) error {
	if err := syscall.Rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
