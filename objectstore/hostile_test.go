package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// TestGetDoesNotTakeARefusedRangeForTheEnd: a server, or something in front of it, answers 416 to the first octet of an
// object that is not empty. That is no empty object.
func TestGetDoesNotTakeARefusedRangeForTheEnd(t *testing.T) {
	for _, offset := range []int64{0, 3} {
		m := newMemory()
		m.set("k", "content", nil)
		m.fail("get", fault{err: objectstore.ErrRange})
		got, err := read(t.Context(), newStore(m, nil), "k", &connection.GetOptions{Offset: offset})
		if got != "" || !errors.Is(err, connection.ErrProtocol) {
			t.Errorf("offset %d: got %q, %v; want ErrProtocol", offset, got, err)
		}
	}
}

// TestGetRemembersACut: a Reader need not repeat an error that it returned with octets. Without a size that must not
// make a cut the end.
func TestGetRemembersACut(t *testing.T) {
	m := &forgetful{newMemory()}
	m.noETag = true
	m.set("k", "content", nil)
	if got, err := read(t.Context(), newStore(m, nil), "k", nil); got != "cont" || !errors.Is(err, connection.ErrNetwork) {
		t.Errorf("got %q, %v; want ErrNetwork after the cut", got, err)
	}
}

// A forgetful server cuts each body, and does not tell its size.
type forgetful struct{ *memory }

func (f *forgetful) Get(ctx context.Context, key string, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	reply, err := f.memory.Get(ctx, key, req)
	if err == nil {
		once := false
		reply.Size = -1
		reply.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			if once {
				return 0, io.EOF
			}
			once = true
			return copy(p, "cont"), io.ErrUnexpectedEOF
		}))
	}
	return reply, err
}

// TestPutThatWasNotReadIsNoSuccess: a server says that all is well before it has all octets.
func TestPutThatWasNotReadIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := newStore(hasty{newMemory()}, nil).Put(t.Context(), "k", strings.NewReader("content"), nil)
		if !errors.Is(err, connection.ErrUncertain) {
			t.Errorf("got %v, want ErrUncertain", err)
		}
	})
}

type hasty struct{ *memory }

func (hasty) Put(_ context.Context, _ string, body io.ReadSeeker, _ *objectstore.PutRequest) (connection.ObjectInfo, error) {
	_, err := body.Read(make([]byte, 3))
	return connection.ObjectInfo{}, err
}

func TestPutKeepsNoBodyBackForWantOfALimit(t *testing.T) {
	m := newMemory()
	s := objectstore.New(m, objectstore.Options{Driver: "mem", Tuning: objectstore.Tuning{SinglePutLimit: math.MaxInt64}}, nil)
	if _, err := s.Put(t.Context(), "k", onlyReader{strings.NewReader("content")}, nil); err != nil || string(m.objects["k"].data) != "content" {
		t.Errorf("got %q, %v; want the content", m.objects["k"].data, err)
	}
}

// A treadmill gives page after page with nothing new in it.
type treadmill struct {
	*memory
	pages int
}

func (l *treadmill) List(context.Context, *objectstore.ListRequest) (*objectstore.Page, error) {
	l.pages++
	if l.pages > 100_000 {
		return nil, kind(connection.ErrQuota, "Endless")
	}
	return &objectstore.Page{Entries: []connection.ObjectInfo{{Key: "a"}}, Token: fmt.Sprint(l.pages)}, nil
}

func TestListThatBringsNothingNewEnds(t *testing.T) {
	var last error
	for _, err := range newStore(&treadmill{memory: newMemory()}, nil).List(t.Context(), nil) {
		last = err
	}
	if !errors.Is(last, connection.ErrProtocol) {
		t.Errorf("got %v, want ErrProtocol", last)
	}
}

// TestListAfterWithinAFold: servers name the common prefix that After lies in, since keys behind After have it too.
func TestListAfterWithinAFold(t *testing.T) {
	m := newMemory()
	for _, key := range []string{"a/1", "a/2", "b"} {
		m.set(key, "x", nil)
	}
	if got := fmt.Sprint(keys(t, newStore(m, nil), &connection.ListOptions{Delimiter: "/", After: "a/1"})); got != "[b]" {
		t.Errorf("got %s, want [b]: After applies to a common prefix as to a key", got)
	}
}

func TestCheckPutBoundsTheContentType(t *testing.T) {
	err := objectstore.CheckPut("k", &connection.PutOptions{ContentType: strings.Repeat("x", objectstore.MaxMeta+1)})
	if !errors.Is(err, connection.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}
