package ewshttp_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
)

// Nothing moves: the request ends. Time in which nobody reads is not counted.
func TestNoDataTimeout(t *testing.T) {
	limited := func(o *ewshttp.Options) { o.NoDataTimeout = time.Minute }
	for name, answer := range map[string]func(http.ResponseWriter){
		"before the header": func(http.ResponseWriter) {},
		"in the body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/xml")
			_, _ = io.WriteString(w, reply+strings.Repeat(" ", 1000))
			_ = http.NewResponseController(w).Flush()
		},
	} {
		for _, safe := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				s, env := newPipeServer(t, basic)
				s.answer = func(w http.ResponseWriter, r *http.Request, _ *visit) {
					answer(w)
					<-r.Context().Done()
				}
				c := s.client(env, clear, limited, auth("basic"))
				began := time.Now()
				resp, err := c.Do(t.Context(), s.request(func(r *ewshttp.Request) { r.Safe = safe }))
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					closeIt(t, resp.Body)
				}
				kind := connection.ErrTimeout
				if !safe {
					kind = connection.ErrUncertain
				}
				wantError(t, err, kind, "no_data_timeout")
				if d := time.Since(began); d < time.Minute || d > 61*time.Second {
					t.Errorf("%s: after %s", name, d)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, basic)
		s.answer = func(w http.ResponseWriter, _ *http.Request, _ *visit) {
			w.Header().Set("Content-Type", "text/xml")
			for range 20 {
				_, _ = io.WriteString(w, strings.Repeat("<x/>", 1000))
				_ = http.NewResponseController(w).Flush()
				<-time.After(30 * time.Second)
			}
		}
		c := s.client(env, clear, limited, auth("basic"))
		resp := open(t, c, s.request())
		<-time.After(time.Hour) // the consumer is slow
		if got := read(t, resp); len(got) != 20*4000 {
			t.Errorf("%d octets", len(got))
		}
	})
}

// slow is a Body that takes its time.
type slow struct{ pause time.Duration }

func (slow) Len() int64 { return 40 }

func (b slow) Open() io.Reader { return &slowly{b.pause, 40} }

type slowly struct {
	pause time.Duration
	left  int
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	<-time.After(s.pause)
	s.left--
	p[0] = 'x'
	return 1, nil
}

// A long upload is no stall, as long as it moves.
func TestSlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, env := newPipeServer(t, basic)
		c := s.client(env, clear, auth("basic"), func(o *ewshttp.Options) { o.NoDataTimeout = time.Minute })
		began := time.Now()
		get(t, c, s.request(func(r *ewshttp.Request) { r.Body = slow{30 * time.Second} }))
		if d := time.Since(began); d < 20*time.Minute {
			t.Errorf("after %s", d)
		}
		fails(t, c, s.request(func(r *ewshttp.Request) { r.Body = slow{2 * time.Minute} }), connection.ErrTimeout)
		get(t, c, s.request(func(r *ewshttp.Request) { r.Body, r.NoData = slow{2 * time.Minute}, -1 }))
	})
}
