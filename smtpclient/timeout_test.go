package smtpclient_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
)

// sluggish serves one connection, in memory, and lets time pass before it says anything, and before it takes the content.
type sluggish struct {
	each  time.Duration // before the greeting, each reply and the taking of content
	final time.Duration // before the reply to the message
}

func (s sluggish) dial(t testing.TB) connection.DialFunc {
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		serving.Go(func() { s.serve(server) })
		return client, nil
	}
}

func (s sluggish) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client may have closed it
	say := func(after time.Duration, line string) error {
		<-time.After(after)
		_, err := io.WriteString(conn, line+"\r\n")
		return err
	}
	err := say(s.each, "220 hello")
	for r := bufio.NewReader(conn); err == nil; {
		var line string
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "QUIT":
			_ = say(0, "221 bye") // it is over in any case
			return
		case "DATA":
			if err = say(s.each, "354 go"); err != nil {
				return
			}
			<-time.After(s.each)
			for line != ".\r\n" && err == nil {
				line, err = r.ReadString('\n')
			}
			err = say(s.final, "250 taken")
		default:
			err = say(s.each, "250 fine")
		}
	}
}

// Edge case 6: a timeout of 0 is none. A server that needs hours for everything is waited for.
func TestTimeoutZeroIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 5 * time.Hour
		cfg := smtpclient.Config{FromAddress: ann, SendStrategy: smtpclient.Original}
		cfg.Server, cfg.Mode = "192.0.2.1:25", connection.ModeInsecure
		if cfg.ConnectTimeout != 0 || cfg.NoDataTimeout != 0 {
			t.Fatal("the zero Config has timeouts")
		}
		began := time.Now()
		c := open(t, cfg, &connection.Env{Dial: sluggish{each: each, final: 11 * time.Minute}.dial(t)})
		_, err := c.Send(t.Context(), toBob, strings.NewReader(letter), nil)
		if took := time.Since(began); err != nil || took != 6*each+11*time.Minute {
			t.Errorf("took %s: %v", took, err)
		}
	})
}

// The same server with timeouts: each ends the wait after its time, to the moment.
func TestTimeoutsEndTheWait(t *testing.T) {
	for name, tt := range map[string]struct {
		server  sluggish
		connect time.Duration
		noData  time.Duration
		final   time.Duration
		after   time.Duration
		kind    connection.Kind
		text    string
	}{
		"connect_timeout":          {server: sluggish{each: time.Hour}, connect: 20 * time.Second, after: 20 * time.Second, kind: connection.ErrTimeout, text: "connect_timeout"},
		"no_data_timeout":          {server: sluggish{each: time.Hour}, noData: 30 * time.Second, after: 30 * time.Second, kind: connection.ErrTimeout, text: "no_data_timeout"},
		"no_data_timeout is each":  {server: sluggish{each: 29 * time.Second, final: time.Second}, noData: 30 * time.Second, after: 6*29*time.Second + time.Second},
		"final_timeout":            {server: sluggish{final: time.Hour}, final: 15 * time.Minute, after: 15 * time.Minute, kind: connection.ErrUncertain},
		"final_timeout by default": {server: sluggish{final: time.Hour}, noData: 30 * time.Second, after: 12 * time.Minute, kind: connection.ErrUncertain},
		"final_timeout is its own": {server: sluggish{final: 11 * time.Minute}, noData: 30 * time.Second, after: 11 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := smtpclient.Config{FromAddress: ann, SendStrategy: smtpclient.Original, FinalTimeout: connection.Duration(tt.final)}
				cfg.Server, cfg.Mode = "192.0.2.1:25", connection.ModeInsecure
				cfg.ConnectTimeout, cfg.NoDataTimeout = connection.Duration(tt.connect), connection.Duration(tt.noData)
				began := time.Now()
				c := open(t, cfg, &connection.Env{Dial: tt.server.dial(t)})
				_, err := c.Send(t.Context(), toBob, strings.NewReader(letter), nil)
				if took := time.Since(began); took != tt.after {
					t.Errorf("took %s, want %s: %v", took, tt.after, err)
				}
				if tt.kind != connection.ErrUnknown {
					_ = wantKind(t, err, tt.kind, tt.text)
				} else if err != nil {
					t.Error(err)
				}
			})
		})
	}
}
