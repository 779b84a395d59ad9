package pop3client_test

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
	"github.com/mailconn/mailconn/pop3client"
)

// sluggish dials servers, in memory, that hold one message and let time pass before each line they send.
func sluggish(t testing.TB, each time.Duration) connection.DialFunc {
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	serve := func(conn net.Conn) {
		defer func() { _ = conn.Close() }() // the client may have closed it
		_, err := io.WriteString(conn, after(each, "+OK hello\r\n"))
		for r := bufio.NewReader(conn); err == nil; {
			var line string
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
			reply := "-ERR what"
			switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
			case "USER", "PASS", "QUIT":
				reply = "+OK"
			case "STAT":
				reply = "+OK 1 3"
			case "UIDL":
				reply = "+OK\r\n1 a\r\n."
			case "LIST":
				reply = "+OK\r\n1 3\r\n."
			case "RETR":
				reply = "+OK\r\nx\r\n."
			}
			for part := range strings.SplitSeq(reply, "\r\n") {
				if _, err = io.WriteString(conn, after(each, part+"\r\n")); err != nil {
					return
				}
			}
		}
	}
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		serving.Go(func() { serve(server) })
		return client, nil
	}
}

// after returns text when so much time has passed.
func after(d time.Duration, text string) string {
	<-time.After(d)
	return text
}

// A timeout of 0 is none, and one that is set is for no octet at all, not for the whole: a server that needs hours for each
// line is waited for, and one that needs longer than the timeout for one line is not.
func TestTimeouts(t *testing.T) {
	for name, tt := range map[string]struct {
		each, connect, noData time.Duration
		after                 time.Duration // to the error; 0: none
		text                  string
	}{
		"none":                     {each: 5 * time.Hour},
		"shorter for each line":    {each: 29 * time.Second, connect: time.Minute, noData: 30 * time.Second},
		"connect_timeout":          {each: time.Hour, connect: 20 * time.Second, after: 20 * time.Second, text: "connect_timeout"},
		"no_data_timeout":          {each: time.Hour, noData: 30 * time.Second, after: 30 * time.Second, text: "no_data_timeout"},
		"no_data_timeout is first": {each: time.Hour, connect: time.Minute, noData: 30 * time.Second, after: 30 * time.Second, text: "no_data_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := pop3client.Config{Username: "ann", Password: connection.NewSecret("secret"), AllowPlaintextAuth: true}
				cfg.Server, cfg.Mode = "192.0.2.1:110", connection.ModeInsecure
				cfg.ConnectTimeout, cfg.NoDataTimeout = connection.Duration(tt.connect), connection.Duration(tt.noData)
				began := time.Now()
				c := open(t, cfg, &connection.Env{Dial: sluggish(t, tt.each)})
				var last error
				n := 0
				for m, err := range c.Fetch(t.Context(), &connection.FetchOptions{Limit: 1}) {
					if last = err; err == nil {
						raw, err := io.ReadAll(m.Body)
						if n++; err != nil || string(raw) != "x\r\n" {
							t.Errorf("got %q, %v", raw, err)
						}
					}
				}
				took := time.Since(began)
				if tt.after == 0 {
					// Greeting, CAPA, USER, PASS, CAPA again, STAT, UIDL, LIST and RETR: fifteen lines.
					if last != nil || n != 1 || took < 15*tt.each {
						t.Errorf("took %s, %d messages: %v", took, n, last)
					}
					return
				}
				if e := theError(t, last, connection.ErrTimeout); took != tt.after || !strings.Contains(e.Error(), tt.text) {
					t.Errorf("took %s, want %s: %v", took, tt.after, last)
				}
			})
		})
	}
}
