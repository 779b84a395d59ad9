package ewshttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newServer(t, ntlm)
	entered := make(chan struct{}, 10)
	s.answer = func(w http.ResponseWriter, r *http.Request, v *visit) {
		w.Header().Set("Content-Type", "text/xml")
		if v.header.Get("X-Hang") == "" {
			_, _ = io.WriteString(w, reply+strings.Repeat(" ", 1000))
			_ = http.NewResponseController(w).Flush()
		}
		entered <- struct{}{}
		<-r.Context().Done()
	}
	c := s.client(nil, auth("ntlm"))
	resp := open(t, c, s.request())
	<-entered
	failed := make(chan error)
	hang := func(set ...func(*ewshttp.Request)) {
		_, err := c.Do(t.Context(), s.request(append(set, func(r *ewshttp.Request) { r.Safe, r.Header = true, http.Header{"X-Hang": {"1"}} })...)) //nolint:bodyclose // there is none
		failed <- err
	}
	go hang()
	<-entered
	reading := make(chan error)
	go func() {
		_, err := io.ReadAll(resp.Body)
		reading <- err
	}()
	closeIt(t, c)
	closeIt(t, c)
	wantError(t, <-failed, connection.ErrClosed)
	if err := <-reading; !errors.Is(err, connection.ErrClosed) {
		t.Errorf("a body that is read: %v", err)
	}
	closeIt(t, resp.Body)
	fails(t, c, s.request(), connection.ErrClosed)
	goroutines(t, before+2) // the server's own two
}

// A request that begins while Close looks for idle connections leaves none behind.
func TestCloseMeetsARequest(t *testing.T) {
	for _, scheme := range []string{"basic", "ntlm"} {
		s := newServer(t, func(s *server) { s.offers = []string{"NTLM", "Basic"} })
		before := runtime.NumGoroutine()
		for range 20 {
			c := s.client(nil, auth(scheme))
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GetConn: func(string) { closeIt(t, c) }})
			resp, err := c.Do(ctx, s.request(func(r *ewshttp.Request) { r.Safe = true }))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				closeIt(t, resp.Body)
			}
			if err != nil { // an answer that was quicker than Close is as good
				wantError(t, err, connection.ErrClosed)
			}
		}
		goroutines(t, before)
	}
}

func TestContextEndsTheRequest(t *testing.T) {
	for _, safe := range []bool{true, false} {
		s := newServer(t, basic)
		ctx, cancel := context.WithCancel(t.Context())
		s.answer = func(_ http.ResponseWriter, r *http.Request, _ *visit) {
			cancel()
			<-r.Context().Done()
		}
		c := s.client(nil, auth("basic"))
		_, err := c.Do(ctx, s.request(func(r *ewshttp.Request) { r.Safe = safe })) //nolint:bodyclose // there is none
		kind := connection.ErrCanceled
		if !safe {
			kind = connection.ErrUncertain // it was sent whole
		}
		wantError(t, err, kind)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v holds no context.Canceled", err)
		}
	}
}
