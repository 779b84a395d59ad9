package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// A tally is what verify found.
type tally struct {
	Verified int64 `json:"verified"`  // whole, and as their digest says
	NoDigest int64 `json:"no_digest"` // whole; nothing to compare with
	Cold     int64 `json:"cold"`      // in a cold tier, and so not read
	Damaged  int64 `json:"damaged"`
	Failed   int64 `json:"failed"` // could not be read
	Octets   int64 `json:"octets"`
}

func verifyCommand(*flag.FlagSet) func(*session, []string) error {
	return func(s *session, args []string) error {
		if len(args) > 1 {
			return misused("verify: want one prefix, or none")
		}
		o := &connection.ListOptions{}
		if len(args) == 1 {
			o.Prefix = args[0]
		}
		return s.verify(o)
	}
}

// errDamaged says that something is not as it was stored.
var errDamaged = errors.New("the octets are not what was stored")

// verify reads all objects and compares them with their digests.
func (s *session) verify(o *connection.ListOptions) error {
	b := s.newBar("verify", 0, 0)
	var (
		mu sync.Mutex
		t  tally
	)
	note := func(key string, err error, field *int64) {
		mu.Lock()
		defer mu.Unlock()
		*field++
		if err != nil {
			s.complain("%s: %v", key, err)
		}
	}
	keys := make(chan string)
	var wg sync.WaitGroup
	for range s.workers {
		wg.Go(func() {
			for key := range keys {
				n, known, err := s.verifyOne(key, b)
				mu.Lock()
				t.Octets += n
				mu.Unlock()
				switch kind := connection.KindOf(err); {
				case err == nil && known:
					note(key, nil, &t.Verified)
				case err == nil:
					note(key, nil, &t.NoDigest)
				case kind == connection.ErrArchived:
					note(key, nil, &t.Cold)
				case kind == connection.ErrNotFound: // removed since it was listed
				case kind == connection.ErrCorrupt, errors.Is(err, errDamaged):
					note(key, err, &t.Damaged)
				default:
					note(key, err, &t.Failed)
				}
				b.finish()
			}
		})
	}
	err := s.feed(o, keys)
	close(keys)
	wg.Wait()
	b.end()
	if err := errors.Join(err, s.ctx.Err()); err != nil {
		return err
	}
	err = s.tell(t, t.String())
	if t.Damaged+t.Failed > 0 {
		return errors.Join(err, fmt.Errorf("verify: %d damaged, %d could not be read", t.Damaged, t.Failed))
	}
	return err
}

// feed lists the keys to verify.
func (s *session) feed(o *connection.ListOptions, keys chan<- string) error {
	for info, err := range s.store.List(s.ctx, o) {
		if err != nil {
			return err
		}
		select {
		case keys <- info.Key:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
	return nil
}

// verifyOne reads an object to its end. known tells whether there was a digest to compare with: the store's, or one that
// the object is named by.
func (s *session) verifyOne(key string, b *bar) (n int64, known bool, err error) {
	o, err := s.store.Get(s.ctx, key, nil)
	if err != nil {
		return 0, false, err
	}
	sum := sha256.New()
	n, err = io.Copy(sum, &moving{o.Body, b})
	if err = errors.Join(err, o.Body.Close()); err != nil {
		return n, false, err
	}
	got := hex.EncodeToString(sum.Sum(nil))
	name, _, _ := strings.Cut(path.Base(key), ".")
	for _, want := range []string{o.SHA256, name} {
		if !objectstore.IsSHA256(want) {
			continue
		}
		known = true
		if got != want {
			return n, true, fmt.Errorf("%w: sha256 is %s, want %s", errDamaged, got, want)
		}
	}
	if o.Size >= 0 && n != o.Size {
		return n, known, fmt.Errorf("%w: %d octets, want %d", errDamaged, n, o.Size)
	}
	return n, known, nil
}

// String tells the tally in a line.
func (t tally) String() string {
	parts := []string{fmt.Sprintf("%s verified, %s read", counted(t.Verified, "object"), octets(t.Octets))}
	for _, p := range []struct {
		n    int64
		what string
	}{{t.NoDigest, "without a digest"}, {t.Cold, "in a cold tier, not read"}, {t.Damaged, "damaged"}, {t.Failed, "could not be read"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, "; ")
}
