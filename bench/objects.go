package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/alldrivers"
	"github.com/mailconn/mailconn/internal/peertest"
)

// objectRows names what can be measured of object stores, on a MinIO on this machine over plain HTTP.
func objectRows() []row {
	mails := objectWork{corpus: corpus{count: 2_000, min: 50_000, max: 50_000}, workers: 16}
	large := objectWork{corpus: corpus{count: 4, min: 256 * megabyte, max: 256 * megabyte}, workers: 4}
	return []row{
		{"objects-put", "2,000 files of 50 KB into MinIO, 16 at a time", mails.row("put")},
		{"objects-get", "2,000 objects of 50 KB from MinIO to files, 16 at a time", mails.row("get")},
		{"objects-put-l", "4 files of 256 MB into MinIO, all at once", large.row("put")},
		{"objects-get-l", "4 objects of 256 MB from MinIO to files, all at once", large.row("get")},
	}
}

// objectWork is what the rows of object stores differ in.
type objectWork struct {
	corpus  corpus
	workers int
}

// stored is the prefix of the objects that are to be got.
const stored = "stored"

func (w objectWork) row(verb string) func(context.Context, *bed) ([]contender, error) {
	return func(ctx context.Context, b *bed) ([]contender, error) {
		w := w
		if share := float64(w.corpus.count) * b.scale; share < 1 {
			// Less than one: a smaller one, which still goes in parts.
			w.corpus.max = max(min(w.corpus.max, 9*megabyte), int(float64(w.corpus.max)*share))
			w.corpus.min = min(w.corpus.min, w.corpus.max)
		}
		w.corpus.count = b.count(w.corpus.count)
		srv, err := peertest.StartMinIO(ctx, &peertest.MinIOOptions{Dir: b.disk})
		if err != nil {
			return nil, err
		}
		b.later(srv.Close)
		files, err := b.dir(b.memory)
		if err != nil {
			return nil, err
		}
		octets, err := w.corpus.files(files)
		if err != nil {
			return nil, err
		}
		config := map[string]any{"location": srv.URL, "bucket": "archive", "identity": srv.AccessKey, "credential": srv.SecretKey}
		t := task{Kind: "objects", Driver: "s3", Config: config, Workers: w.workers, Sink: verb}
		if verb == "get" {
			put := t
			put.Dir, put.Address, put.Sink = files, stored, "put"
			if _, err := objects(ctx, put); err != nil {
				return nil, err
			}
		}
		// where says what a run works on: the files and a prefix of its own, or the objects and a folder of its own.
		where := func(t task, target string) task {
			t.Dir, t.Address = files, filepath.Base(target)
			if verb == "get" {
				t.Dir, t.Address = target, stored
			}
			return t
		}
		check := func(target string, _ []byte) error {
			if verb == "get" {
				return countFiles(target, w.corpus.count, octets, true)
			}
			return countObjects(ctx, config, filepath.Base(target), w.corpus.count, octets)
		}
		raw := t
		raw.Kind = "raw-objects"
		return []contender{
			{name: "presigned URLs, raw", role: limit, check: check, command: b.child(func(target string) task { return where(raw, target) })},
			w.rclone(srv, verb, check, where),
			minioGo(ctx, b, check, func(target string) task { return where(t, target) }),
			{name: "mailconn", role: ours, check: check, command: b.child(func(target string) task { return where(t, target) })},
		}, nil
	}
}

// files writes the corpus into a folder, a file for each message, and returns its size.
func (c corpus) files(dir string) (octets int64, err error) {
	i := 0
	for m := range c.messages() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.eml", i)), m, 0o600); err != nil {
			return 0, err
		}
		octets += int64(len(m))
		i++
	}
	return octets, nil
}

// rclone is the program of that name, with as many transfers.
func (w objectWork) rclone(srv *peertest.MinIOServer, verb string, check func(string, []byte) error, where func(task, string) task) contender {
	c := contender{name: fmt.Sprintf("rclone --transfers %d", w.workers), role: peer, check: check}
	program, err := exec.LookPath("rclone")
	if err != nil {
		c.missing = "not installed"
		return c
	}
	c.command = func(ctx context.Context, target string) (*job, error) {
		t := where(task{}, target)
		from, to := t.Dir, ":s3:archive/"+t.Address
		if verb == "get" {
			from, to = to, from
		}
		cmd := exec.CommandContext(ctx, program, "copy", from, to, "--config", os.DevNull, "--transfers", fmt.Sprint(w.workers), "--checkers", fmt.Sprint(w.workers), "--s3-no-check-bucket")
		// It would obey what is meant for Amazon's programs, and not all of that works with it.
		env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
		cmd.Env = append(env, "RCLONE_S3_PROVIDER=Minio", "RCLONE_S3_ENDPOINT="+srv.URL, "RCLONE_S3_ACCESS_KEY_ID="+srv.AccessKey, "RCLONE_S3_SECRET_ACCESS_KEY="+srv.SecretKey)
		return &job{cmd: cmd}, nil
	}
	return c
}

// minioGo is the module in the folder minio, which is built first.
func minioGo(ctx context.Context, b *bed, check func(string, []byte) error, what func(target string) task) contender {
	c := contender{name: "minio-go", role: peer, check: check}
	dir, err := b.dir(b.disk)
	program := filepath.Join(dir, "minio")
	if err == nil {
		build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
		build.Dir = filepath.Join("bench", "minio")
		err = build.Run()
	}
	if err != nil {
		c.missing = "cannot be built here"
		return c
	}
	command := b.child(what)
	c.command = func(ctx context.Context, target string) (*job, error) {
		j, err := command(ctx, target)
		if err == nil {
			j.cmd = exec.CommandContext(ctx, program)
		}
		return j, err
	}
	return c
}

// objects puts the files of t.Dir below the prefix t.Address, or gets what is below it into t.Dir.
func objects(ctx context.Context, t task) (done tally, err error) {
	store, err := openStore(t.Config)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return t.transfer(ctx, store, func(ctx context.Context, key, name string) (int64, error) {
		if t.Sink == "put" {
			f, err := os.Open(name)
			if err != nil {
				return 0, err
			}
			info, err := store.Put(ctx, key, f, &connection.PutOptions{ContentType: "message/rfc822"})
			return info.Size, errors.Join(err, f.Close())
		}
		o, err := store.Get(ctx, key, nil)
		if err != nil {
			return 0, err
		}
		n, err := intoFile(name, o.Body)
		return n, errors.Join(err, o.Body.Close())
	})
}

func openStore(config map[string]any) (connection.ObjectStore, error) {
	c, err := open(alldrivers.New(), "s3", config)
	if err != nil {
		return nil, err
	}
	return connection.As[connection.ObjectStore](c)
}

func intoFile(name string, r io.Reader) (int64, error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}

// transfer calls one for each object of t, t.Workers at a time.
func (t *task) transfer(ctx context.Context, store connection.ObjectStore, one func(ctx context.Context, key, name string) (int64, error)) (tally, error) {
	var names []string
	if t.Sink == "put" {
		entries, err := os.ReadDir(t.Dir)
		if err != nil {
			return tally{}, err
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	} else {
		for info, err := range store.List(ctx, &connection.ListOptions{Prefix: t.Address + "/"}) {
			if err != nil {
				return tally{}, err
			}
			names = append(names, path.Base(info.Key))
		}
	}
	var count, octets atomic.Int64
	err := inParallel(t.Workers, names, func(name string) error {
		n, err := one(ctx, path.Join(t.Address, name), filepath.Join(t.Dir, name))
		count.Add(1)
		octets.Add(n)
		return err
	})
	return tally{Messages: int(count.Load()), Octets: octets.Load()}, err
}

// inParallel calls f for all names, so many at a time.
func inParallel(workers int, names []string, f func(name string) error) error {
	next, failed := make(chan string), make(chan error, workers)
	for range workers {
		go func() {
			var errs []error
			for name := range next {
				errs = append(errs, f(name))
			}
			failed <- errors.Join(errs...)
		}()
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	var errs []error
	for range workers {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

// rawObjects does no more than HTTP: one request for each object, with a URL that was signed before.
func rawObjects(ctx context.Context, t task) (done tally, err error) {
	store, err := openStore(t.Config)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	presigner, err := connection.As[connection.Presigner](store)
	if err != nil {
		return tally{}, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: t.Workers, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10, DisableCompression: true}
	defer transport.CloseIdleConnections()
	method := strings.ToUpper(t.Sink)
	return t.transfer(ctx, store, func(ctx context.Context, key, name string) (int64, error) {
		url, err := presigner.Presign(ctx, method, key, time.Hour)
		if err != nil {
			return 0, err
		}
		return rawRequest(ctx, transport, method, url.Reveal(), name)
	})
}

func rawRequest(ctx context.Context, rt http.RoundTripper, method, url, name string) (n int64, err error) {
	var body io.ReadCloser = http.NoBody
	size := int64(0)
	if method == http.MethodPut {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		info, err := f.Stat()
		if err != nil {
			return 0, errors.Join(err, f.Close())
		}
		body, size = f, info.Size()
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, errors.Join(err, body.Close())
	}
	req.ContentLength = size
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		said, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return 0, errors.Join(err, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(said)))
	}
	if method == http.MethodPut {
		return size, nil
	}
	return intoFile(name, resp.Body)
}

// countObjects checks that the bucket holds the corpus below a prefix.
func countObjects(ctx context.Context, config map[string]any, prefix string, count int, octets int64) (err error) {
	store, err := openStore(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var got tally
	for info, err := range store.List(ctx, &connection.ListOptions{Prefix: prefix + "/"}) {
		if err != nil {
			return err
		}
		got.Messages++
		got.Octets += info.Size
	}
	return got.check(count, octets)
}

// stream puts t.Messages objects of t.Size zeros each, whose size is not told, one after the other.
func stream(ctx context.Context, t task) (done tally, err error) {
	c, err := open(alldrivers.New(), t.Driver, t.Config)
	if err != nil {
		return tally{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	store, err := connection.As[connection.ObjectStore](c)
	if err != nil {
		return tally{}, err
	}
	for i := range t.Messages {
		info, err := store.Put(ctx, fmt.Sprintf("%s/%d", t.Address, i), io.LimitReader(zeros{}, int64(t.Size)), nil)
		if err != nil {
			return done, err
		}
		done.Messages++
		done.Octets += info.Size
	}
	return done, nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
