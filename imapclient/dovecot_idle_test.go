package imapclient_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/internal/peertest"
)

// Mail is seen within a second with IDLE, and within the polling interval without.
func TestDovecotIdle(t *testing.T) {
	srv := peertest.Dovecot(t, nil)
	poll := dovecotConfig(srv, connection.ModeTLS)
	poll.PollingIdleMax = connection.Duration(200 * time.Millisecond)
	for _, test := range []struct {
		name string
		cfg  imapclient.Config
		most time.Duration
	}{
		{"idle", idling(dovecotConfig(srv, connection.ModeTLS)), time.Second},
		{"idle in one session", func() imapclient.Config {
			cfg := idling(emptying(dovecotConfig(srv, connection.ModeTLS)))
			cfg.MaxSessions = 1
			return cfg
		}(), time.Second},
		{"polling", poll, poll.PollingIdleMax.D()},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := srv.Count(srv.User, "INBOX")
			w := follow(t, test.cfg, &connection.Env{})
			for range old {
				<-w.got
			}
			for i := range 3 {
				body := fmt.Sprintf("Subject: %s %d\r\n\r\nx\r\n", test.name, i)
				// Long after the last look, so that it is idle.
				<-time.After(300 * time.Millisecond)
				began := time.Now()
				srv.Deliver(srv.User, []byte(body))
				w.next(t, body)
				// The rest is for the delivery and a busy machine; bench measures what it takes on a quiet one.
				if took, most := time.Since(began), test.most+5*time.Second; took > most {
					t.Errorf("message %d was seen after %v, want %v", i, took, most)
				}
			}
		})
	}
}

// 10,000 messages that arrive while the client runs are all stored, each once, and none is left.
func TestDovecotArrivals(t *testing.T) {
	const n = 10_000
	for name, idle := range map[string]bool{"idle": true, "polling": false} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && idle {
				t.Skip("short: the one with polling does")
			}
			srv := peertest.Dovecot(t, nil)
			cfg := emptying(dovecotConfig(srv, connection.ModeTLS))
			cfg.Idle, cfg.ExpungeEvery = idle, 500
			cfg.PollingIdleMax = connection.Duration(200 * time.Millisecond)
			stored := drainArrivals(t, srv, cfg, n)
			left := srv.Count(srv.User, "INBOX")
			twice := 0
			for _, times := range stored {
				twice += times - 1
			}
			if len(stored) != n || twice != 0 || left != 0 {
				t.Errorf("%d of %d are stored, %d of them again, %d are left", len(stored), n, twice, left)
			}
		})
	}
}

// drainArrivals drains srv while n messages arrive, and returns how often each was stored.
func drainArrivals(t *testing.T, srv *peertest.DovecotServer, cfg imapclient.Config, n int) map[[sha256.Size]byte]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stored := make(map[[sha256.Size]byte]int)
	sink := func(_ context.Context, m *connection.Message) error {
		sum := sha256.New()
		if _, err := io.Copy(sum, m.Body); err != nil {
			return err
		}
		stored[[sha256.Size]byte(sum.Sum(nil))]++
		if len(stored) == n {
			cancel()
		}
		return nil
	}
	c := open(t, cfg, nil)
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		srv.DeliverTo(srv.User, "INBOX", numbered(n))
	}()
	_, err := connection.Drain(ctx, c, sink, &connection.DrainOptions{
		Fetch:   connection.FetchOptions{Follow: true},
		OnError: func(ref connection.Ref, err error) { t.Errorf("%v: %v", ref, err) },
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-delivered
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	return stored
}

// numbered yields n messages, each another, with pauses now and then.
func numbered(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range n {
			if i%1000 == 0 {
				<-time.After(20 * time.Millisecond)
			}
			if !yield(fmt.Appendf(nil, "Subject: arrival %d\r\n\r\n%0*d\r\n", i, i%300, i)) {
				return
			}
		}
	}
}
