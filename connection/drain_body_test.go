package connection_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// A shelf is a source of one message.
type shelf struct {
	body    func() io.Reader
	deleted []connection.Ref
}

func (s *shelf) Fetch(context.Context, *connection.FetchOptions) iter.Seq2[*connection.Message, error] {
	return func(yield func(*connection.Message, error) bool) {
		if len(s.deleted) == 0 {
			yield(&connection.Message{Ref: connection.Ref{ID: "1"}, Size: -1, Body: s.body()}, nil)
		}
	}
}

func (s *shelf) Delete(_ context.Context, refs ...connection.Ref) error {
	s.deleted = append(s.deleted, refs...)
	return nil
}

// breaking is a body that writes itself, and breaks in the middle if err is not nil.
type breaking struct {
	io.Reader
	text string
	err  error
}

func (b breaking) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, b.text)
	if err == nil {
		err = b.err
	}
	return int64(n), err
}

// writes keeps what each Write wrote.
type writes struct {
	pieces []string
	err    error
}

func (w *writes) Write(p []byte) (int, error) {
	w.pieces = append(w.pieces, string(p))
	return len(p), w.err
}

// A body that is in memory reaches the sink's file with one write.
func TestDrainCopiesWithOneWrite(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 10_000) // more than io.Copy takes at once
	for _, workers := range []int{1, 2} {
		src := &shelf{body: func() io.Reader { return strings.NewReader(text) }}
		var w writes
		sink := func(_ context.Context, m *connection.Message) error {
			_, err := io.Copy(&w, m.Body)
			return err
		}
		stats, err := connection.Drain(t.Context(), src, sink, &connection.DrainOptions{Workers: workers})
		if err != nil || stats.Stored != 1 || stats.Bytes != int64(len(text)) || !slices.Equal(w.pieces, []string{text}) {
			t.Errorf("%d workers: got %d pieces, %+v, %v; want one piece", workers, len(w.pieces), stats, err)
		}
	}
}

// A sink that does not look at the error of io.Copy must not make Drain delete half a message.
func TestDrainSeesABodyThatBreaksWhileItIsCopied(t *testing.T) {
	broken := &connection.Error{Op: "fetch", Kind: connection.ErrCorrupt, Err: errors.New("no more of it")}
	for name, body := range map[string]func() io.Reader{
		"writes itself": func() io.Reader { return breaking{text: "half", err: broken} },
		"is read":       func() io.Reader { return io.MultiReader(strings.NewReader("half"), failing{broken}) },
	} {
		src := &shelf{body: body}
		sink := func(_ context.Context, m *connection.Message) error {
			_, _ = io.Copy(io.Discard, m.Body) // the mistake that this test is about
			return nil
		}
		stats, err := connection.Drain(t.Context(), src, sink, &connection.DrainOptions{MaxAttempts: 1})
		if !errors.Is(err, connection.ErrCorrupt) || stats.Stored != 0 || len(src.deleted) != 0 {
			t.Errorf("%s: got %+v, %v, deleted %v; want ErrCorrupt and nothing deleted", name, stats, err, src.deleted)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// The sink's disk that is full is not the source's failure.
func TestDrainTellsTheWriterFromTheBody(t *testing.T) {
	full := &connection.Error{Op: "put", Kind: connection.ErrQuota, Err: errors.New("no room")}
	for name, body := range map[string]func() io.Reader{
		"writes itself": func() io.Reader { return breaking{text: "whole"} },
		"is read":       func() io.Reader { return io.MultiReader(strings.NewReader("whole")) },
	} {
		sink := func(_ context.Context, m *connection.Message) error {
			_, err := io.Copy(&writes{err: full}, m.Body)
			return err
		}
		_, err := connection.Drain(t.Context(), &shelf{body: body}, sink, nil)
		if !errors.Is(err, connection.ErrQuota) || !strings.Contains(err.Error(), "the sink can store nothing") {
			t.Errorf("%s: got %v, want the sink's ErrQuota at once", name, err)
		}
	}
}
