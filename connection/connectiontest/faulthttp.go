package connectiontest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// An HTTPFault is something that goes wrong in HTTP exchanges. Put faults around a transport with [FaultyTransport].
type HTTPFault func(http.RoundTripper) http.RoundTripper

// FaultyTransport returns a transport with the faults, the first one nearest to the client. A nil next is
// http.DefaultTransport.
func FaultyTransport(next http.RoundTripper, faults ...HTTPFault) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	for i := len(faults) - 1; i >= 0; i-- {
		next = faults[i](next)
	}
	return next
}

// roundTripper is a http.RoundTripper made of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// times returns a fault that is f for the first n exchanges, for all if n < 0, and nothing after them.
func times(n int, f func(next http.RoundTripper, r *http.Request) (*http.Response, error)) HTTPFault {
	return func(next http.RoundTripper) http.RoundTripper {
		var count atomic.Int64
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if k := count.Add(1); n >= 0 && k > int64(n) {
				return next.RoundTrip(r)
			}
			return f(next, r)
		})
	}
}

// Status answers the first n requests itself (all if n < 0), with the status code and headers such as
// "Retry-After: 2". The requests do not reach the server; their bodies are closed unread.
func Status(n, code int, headers ...string) HTTPFault {
	return times(n, func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp := &http.Response{
			Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), StatusCode: code,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{}, Body: http.NoBody, Request: r,
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ":")
			resp.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
		return resp, closeRequest(r)
	})
}

// RefuseRequests fails the first n requests (all if n < 0) as if no connection could be made. None reaches the server.
func RefuseRequests(n int) HTTPFault {
	return times(n, func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		if err := closeRequest(r); err != nil {
			return nil, err
		}
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	})
}

// LoseReplies lets the first n requests (all if n < 0) reach the server, which acts, and loses what it answers.
func LoseReplies(n int) HTTPFault {
	return times(n, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		return nil, os.NewSyscallError("read", syscall.ECONNRESET)
	})
}

// CutBody breaks the bodies of the first n answers (all if n < 0) after so many octets: Read gives
// io.ErrUnexpectedEOF.
func CutBody(n int, after int64) HTTPFault {
	return bodies(n, func(b io.ReadCloser, _ context.Context) io.ReadCloser { return &cutBody{b, after} })
}

type cutBody struct {
	io.ReadCloser
	left int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// StallBody makes the bodies of the first n answers (all if n < 0) silent after so many octets, until the body is
// closed or the request's context is done.
func StallBody(n int, after int64) HTTPFault {
	return bodies(n, func(b io.ReadCloser, ctx context.Context) io.ReadCloser {
		return &stallBody{ReadCloser: b, ctx: ctx, left: after, closed: make(chan struct{})}
	})
}

type stallBody struct {
	io.ReadCloser
	ctx    context.Context
	left   int64
	once   sync.Once
	closed chan struct{}
}

func (b *stallBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		select {
		case <-b.closed:
			return 0, http.ErrBodyReadAfterClose
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (b *stallBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.ReadCloser.Close()
}

// CorruptBody inverts the lowest bit of the octet behind so many others, in the bodies of the first n answers (all if
// n < 0).
func CorruptBody(n int, after int64) HTTPFault {
	return bodies(n, func(b io.ReadCloser, _ context.Context) io.ReadCloser { return &corruptBody{b, after} })
}

type corruptBody struct {
	io.ReadCloser
	left int64
}

func (b *corruptBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left >= 0 && b.left < int64(n) {
		p[b.left] ^= 1
	}
	b.left = max(-1, b.left-int64(n))
	return n, err
}

// bodies returns a fault that wraps the bodies of the first n answers.
func bodies(n int, wrap func(io.ReadCloser, context.Context) io.ReadCloser) HTTPFault {
	return times(n, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		resp.Body = wrap(resp.Body, r.Context())
		return resp, nil
	})
}

// closeRequest does what a RoundTripper must do also with a request that it does not send.
func closeRequest(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}
