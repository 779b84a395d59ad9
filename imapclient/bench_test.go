package imapclient_test

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/internal/peertest"
)

// small yields n messages of 3 to 6 KB with the line ends that Dovecot keeps.
func small(n int) iter.Seq[[]byte] {
	line := []byte("The quick brown fox jumps over the lazy dog, and over the next one too.\r\n")
	return func(yield func([]byte) bool) {
		for i := range n {
			m := fmt.Appendf(nil, "From: a@example.org\r\nTo: b@example.org\r\nSubject: message %d\r\n\r\n", i)
			if !yield(append(m, bytes.Repeat(line, 40+i%43)...)) {
				return
			}
		}
	}
}

func dovecotConfig(srv *peertest.DovecotServer, mode connection.Mode) imapclient.Config {
	cfg := imapclient.Config{
		NetworkSettings: connection.NetworkSettings{Server: srv.Addr("imap"), Mode: mode, TLSSettings: connection.TLSSettings{CAPEM: srv.CAPEM}},
		Username:        srv.User, Password: connection.NewSecret(srv.Password), AllowPlaintextAuth: true,
	}
	if mode == connection.ModeTLS {
		cfg.Server = srv.Addr("imaps")
	}
	return cfg
}

// BenchmarkDovecotFetch reads 20,000 small messages with each iteration.
func BenchmarkDovecotFetch(b *testing.B) {
	const n = 20_000
	srv := peertest.Dovecot(b, nil)
	srv.DeliverTo(srv.User, "INBOX", small(n))
	for _, mode := range []connection.Mode{connection.ModeInsecure, connection.ModeTLS} {
		b.Run(string(mode), func(b *testing.B) {
			c := open(b, dovecotConfig(srv, mode), nil)
			b.ReportAllocs()
			for b.Loop() {
				octets, count := int64(0), 0
				for m, err := range c.Fetch(b.Context(), nil) {
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.Copy(io.Discard, m.Body)
					if err != nil {
						b.Fatal(err)
					}
					octets += n
					count++
				}
				if count != n {
					b.Fatalf("got %d messages, want %d", count, n)
				}
				b.SetBytes(octets)
			}
		})
	}
}

// BenchmarkDovecotDelete removes 10,000 messages with each iteration, 50 at a time.
func BenchmarkDovecotDelete(b *testing.B) {
	const n = 10_000
	srv := peertest.Dovecot(b, nil)
	cfg := dovecotConfig(srv, connection.ModeInsecure)
	cfg.DeleteMode, cfg.ExpungeEvery = imapclient.DeleteExpunge, 500
	c := open(b, cfg, nil)
	for b.Loop() {
		b.StopTimer()
		srv.DeliverTo(srv.User, "INBOX", small(n))
		var all []connection.Ref
		for m, err := range c.Fetch(b.Context(), nil) {
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, m.Ref)
		}
		b.StartTimer()
		for some := range slices.Chunk(all, 50) {
			if err := c.Delete(b.Context(), some...); err != nil {
				b.Fatal(err)
			}
		}
		if len(all) != n {
			b.Fatalf("got %d messages, want %d", len(all), n)
		}
	}
}
