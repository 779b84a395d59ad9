package objectstore_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A parted is a memory that takes large objects in parts.
type parted struct {
	*memory
	limits objectstore.PartLimits
	digest func() hash.Hash // that it checks; nil = none

	uploads map[string]map[int]string
	began   int
	flying  atomic.Int64
	most    atomic.Int64 // octets of parts in flight at once
	partsMu sync.Mutex
}

func newParted() *parted {
	return &parted{memory: newMemory(), digest: func() hash.Hash { return md5.New() }, limits: objectstore.PartLimits{MinPart: 4, MaxParts: 100}, uploads: map[string]map[int]string{}}
}

func (p *parted) PartLimits() objectstore.PartLimits { return p.limits }

func (p *parted) Begin(ctx context.Context, key string, _ *objectstore.PutRequest) (string, error) {
	if _, err := p.begin(ctx, "begin", key, ""); err != nil {
		return "", err
	}
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	p.began++
	name := fmt.Sprint("upload", p.began)
	p.uploads[name] = map[int]string{}
	return name, nil
}

func (p *parted) PutPart(ctx context.Context, _, upload string, body io.ReadSeeker, req *objectstore.PartRequest) (string, error) {
	now := p.flying.Add(req.Size)
	defer p.flying.Add(-req.Size)
	for most := p.most.Load(); now > most && !p.most.CompareAndSwap(most, now); most = p.most.Load() {
	}
	f, err := p.begin(ctx, "part", fmt.Sprint(req.Number), "")
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var sum []byte
	if p.digest != nil {
		h := p.digest()
		_, _ = h.Write(data)
		sum = h.Sum(nil)
	}
	if !bytes.Equal(sum, req.Wire) || int64(len(data)) != req.Size {
		return "", kind(connection.ErrCorrupt, "BadDigest")
	}
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	p.uploads[upload][req.Number] = string(data)
	return fmt.Sprint("tag", req.Number), f.err
}

func (p *parted) Complete(ctx context.Context, key, upload string, parts []objectstore.Part, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	f, err := p.begin(ctx, "complete", key, "")
	if err != nil {
		return connection.ObjectInfo{}, err
	}
	p.partsMu.Lock()
	have, ok := p.uploads[upload]
	p.partsMu.Unlock()
	if !ok {
		return connection.ObjectInfo{}, kind(connection.ErrNotFound, "NoSuchUpload")
	}
	if _, err := p.get(key); err == nil && req.IfAbsent {
		return connection.ObjectInfo{}, kind(connection.ErrExists, "PreconditionFailed")
	}
	var whole strings.Builder
	for i, part := range parts {
		if part.Number != i+1 || part.Tag != fmt.Sprint("tag", i+1) {
			return connection.ObjectInfo{}, kind(connection.ErrRejected, "InvalidPart")
		}
		whole.WriteString(have[part.Number])
	}
	info := p.set(key, whole.String(), req)
	p.partsMu.Lock()
	delete(p.uploads, upload)
	p.partsMu.Unlock()
	return info, f.err
}

func (p *parted) Abort(ctx context.Context, key, upload string) error {
	if _, err := p.begin(ctx, "abort", key, ""); err != nil {
		return err
	}
	p.partsMu.Lock()
	defer p.partsMu.Unlock()
	delete(p.uploads, upload)
	return nil
}

func newPartedStore(p *parted, workers int) *objectstore.Store {
	return objectstore.New(p, objectstore.Options{
		Driver: "mem", Features: objectstore.Features{IfAbsent: true, Meta: true}, Wire: func() hash.Hash { return md5.New() },
		Tuning: objectstore.Tuning{SinglePutLimit: 10, PartSize: 10, PartWorkers: workers, NoDataTimeout: connection.Duration(time.Minute)},
	}, nil)
}

func count(requests []string, op string) (n int) {
	for _, r := range requests {
		if strings.HasPrefix(r, op+" ") {
			n++
		}
	}
	return n
}

// seekOnly cannot be read at any place.
type seekOnly struct{ io.ReadSeeker }

func TestPartsByTheOctet(t *testing.T) {
	for _, size := range []int{0, 1, 9, 10, 11, 19, 20, 21, 30, 995} {
		for _, kind := range []string{"at", "seek", "stream"} {
			p := newParted()
			content := strings.Repeat("abcdefghijk", 100)[:size]
			var r io.Reader = strings.NewReader(content)
			switch kind {
			case "seek":
				r = seekOnly{strings.NewReader(content)}
			case "stream":
				r = onlyReader{r}
			}
			var told []int64
			_, err := newPartedStore(p, 3).Put(t.Context(), "k", r, &connection.PutOptions{Progress: func(n int64) { told = append(told, n) }})
			if err != nil {
				t.Fatalf("%d octets: %v", size, err)
			}
			if got := p.objects["k"]; string(got.data) != content || got.info.SHA256 != sum(content) {
				t.Errorf("%d octets: stored %q, digest %s", size, got.data, got.info.SHA256)
			}
			want := 0
			if size > 10 {
				want = (size + 9) / 10
			}
			if got := count(p.requests, "part"); got != want {
				t.Errorf("%d octets: %d parts, want %d", size, got, want)
			}
			if size > 0 && (len(told) == 0 || told[len(told)-1] != int64(size)) {
				t.Errorf("%d octets: progress %v", size, told)
			}
		}
	}
}

func TestPartSizeGrowsToWhatTheEngineTakes(t *testing.T) {
	p := newParted()
	p.limits.MaxParts = 3
	content := strings.Repeat("x", 100)
	if _, err := newPartedStore(p, 2).Put(t.Context(), "k", strings.NewReader(content), nil); err != nil {
		t.Fatal(err)
	}
	if n := count(p.requests, "part"); n > 3 || string(p.objects["k"].data) != content {
		t.Errorf("%d parts, want at most 3", n)
	}
	p.limits = objectstore.PartLimits{MaxPart: 10, MaxParts: 3}
	if _, err := newPartedStore(p, 2).Put(t.Context(), "big", strings.NewReader(content), nil); !errors.Is(err, connection.ErrTooLarge) || count(p.requests, "begin") != 1 {
		t.Errorf("got %v, want ErrTooLarge before the first request", err)
	}
	p.limits = objectstore.PartLimits{MaxPut: 5}
	if _, err := newPartedStore(p, 2).Put(t.Context(), "small", strings.NewReader("sixsix"), nil); err != nil || count(p.requests, "begin") != 2 {
		t.Errorf("got %v, want parts for what one request does not take", err)
	}
}

func TestPartsInTrouble(t *testing.T) {
	content := strings.Repeat("abcdefghij", 5)
	for _, tc := range []struct {
		name   string
		op     string
		faults []fault
		opts   connection.PutOptions
		taken  bool
		blind  bool // Stat gives no answer
		want   connection.Kind
		left   int // uploads
	}{
		{name: "begin again", op: "begin", faults: []fault{network}},
		{name: "a part again", op: "part", faults: []fault{network, throttled}},
		{name: "a part whose reply is lost", op: "part", faults: []fault{lostReply}},
		{name: "parts that never pass", op: "part", faults: slices.Repeat([]fault{network}, 100), want: connection.ErrNetwork},
		{name: "parts whose replies are always lost", op: "part", faults: slices.Repeat([]fault{lostReply}, 100), want: connection.ErrNetwork},
		{name: "a part refused", op: "part", faults: []fault{{err: kind(connection.ErrCorrupt, "BadDigest")}}, want: connection.ErrCorrupt},
		{name: "complete again", op: "complete", faults: []fault{throttled}},
		{name: "complete, reply lost", op: "complete", faults: []fault{lostReply}},
		{name: "complete, all replies lost", op: "complete", faults: []fault{lostReply, network, network, network, network, network}},
		{name: "complete, reply lost, if absent", op: "complete", faults: []fault{lostReply}, opts: connection.PutOptions{IfAbsent: true}},
		{name: "complete refused", op: "complete", faults: []fault{{err: kind(connection.ErrPermission, "Denied")}}, want: connection.ErrPermission},
		{name: "complete never heard", op: "complete", faults: slices.Repeat([]fault{{err: kind(connection.ErrUncertain, "Lost")}}, 9), want: connection.ErrUncertain, left: 1},
		{name: "complete, reply lost, then no upload, and nobody tells", op: "complete", faults: []fault{lostReply}, blind: true, want: connection.ErrUncertain},
		{name: "taken", op: "none", taken: true, opts: connection.PutOptions{IfAbsent: true}, want: connection.ErrExists},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newParted()
				if tc.taken {
					p.set("k", "other", nil)
				}
				p.fail(tc.op, tc.faults...)
				if tc.blind {
					p.fail("stat", slices.Repeat([]fault{network}, 20)...)
				}
				_, err := newPartedStore(p, 2).Put(t.Context(), "k", strings.NewReader(content), &tc.opts)
				if connection.KindOf(err) != tc.want {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
				if held := string(p.objects["k"].data); tc.want == 0 && held != content || tc.want != 0 && held == content && !tc.blind {
					t.Errorf("stored %q", held)
				}
				if len(p.uploads) != tc.left {
					t.Errorf("%d uploads left behind, want %d", len(p.uploads), tc.left)
				}
			})
		})
	}
}

func TestAbortSurvivesTheCallersContext(t *testing.T) {
	p := newParted()
	ctx, cancel := context.WithCancel(t.Context())
	p.fail("part", fault{}, fault{hook: func(string) { cancel() }})
	_, err := newPartedStore(p, 1).Put(ctx, "k", strings.NewReader(strings.Repeat("x", 50)), nil)
	if !errors.Is(err, context.Canceled) || len(p.uploads) != 0 || count(p.requests, "abort") != 1 || len(p.objects) != 0 {
		t.Errorf("got %v with %d uploads, want the context's error and the upload gone", err, len(p.uploads))
	}
}

func TestAbortThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParted()
		p.fail("part", fault{err: kind(connection.ErrQuota, "Full")})
		p.fail("abort", slices.Repeat([]fault{network}, 9)...)
		_, err := newPartedStore(p, 1).Put(t.Context(), "k", strings.NewReader(strings.Repeat("x", 50)), nil)
		if !errors.Is(err, connection.ErrQuota) || !strings.Contains(err.Error(), "stays behind") {
			t.Errorf("got %v, want ErrQuota, and that the upload stays", err)
		}
	})
}

func TestMemoryOfPartsIsShared(t *testing.T) {
	p := newParted()
	s := newPartedStore(p, 3)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := s.Put(t.Context(), fmt.Sprint("k", i), strings.NewReader(strings.Repeat("y", 300)), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most := p.most.Load(); most > 30 || len(p.objects) != 8 {
		t.Errorf("%d octets of parts at once for %d objects, want at most 30", most, len(p.objects))
	}
}

// The server refuses octets that have another digest than those that were read first. Where it looks at none, the Store does.
func TestSourceThatChangesBetweenItsReadings(t *testing.T) {
	for name, opts := range map[string]objectstore.Options{
		"wire":    {Wire: func() hash.Hash { return md5.New() }},
		"sha256":  {WireSHA256: true},
		"nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParted()
			p.digest = opts.Wire
			if opts.WireSHA256 {
				p.digest = sha256.New
			}
			opts.Tuning = objectstore.Tuning{SinglePutLimit: 10, PartSize: 10, PartWorkers: 1}
			data := []byte(strings.Repeat("x", 50))
			p.fail("begin", fault{hook: func(string) { data[45] = 'y' }})
			_, err := objectstore.New(p, opts, nil).Put(t.Context(), "k", bytes.NewReader(data), nil)
			want := connection.ErrCorrupt
			if p.digest == nil {
				want = connection.ErrChanged
			}
			if !errors.Is(err, want) || len(p.objects) != 0 || len(p.uploads) != 0 {
				t.Errorf("got %v, want %v and nothing stored", err, want)
			}
		})
	}
}

func TestPartsOfRandomOctets(t *testing.T) {
	p := newParted()
	p.limits.MaxParts = 10_000
	data := make([]byte, 12_345)
	_, _ = rand.Read(data)
	if _, err := newPartedStore(p, 4).Put(t.Context(), "k", onlyReader{bytes.NewReader(data)}, &connection.PutOptions{Size: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.objects["k"].data, data) {
		t.Error("the parts are not the whole")
	}
}
