package peertest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/internal/peertest"
)

// echo starts a server that sends back what it gets, and returns its address.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(conn, conn) // the test reads what came of it
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// converse sends octets, ends its side and returns what came back.
func converse(t *testing.T, address string, octets []byte) ([]byte, error) {
	t.Helper()
	conn := dial(t, address)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := conn.Write(octets); err == nil {
			_ = conn.CloseWrite() // the reader sees what became of it
		}
	})
	got, err := io.ReadAll(conn)
	_ = conn.Close()
	wg.Wait()
	return got, err
}

func letters(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}

func TestProxyPassesEverythingOn(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	want := letters(1 << 20)
	for name, f := range map[string]peertest.Faults{
		"as it comes":        {},
		"in small chunks":    {Up: peertest.Way{Chunk: 1000}, Down: peertest.Way{Chunk: 777}},
		"later":              {Up: peertest.Way{Delay: 5 * time.Millisecond}, Down: peertest.Way{Delay: 5 * time.Millisecond}},
		"limits not reached": {Up: peertest.Way{CutAfter: 2 << 20}, Down: peertest.Way{StallAfter: 2 << 20}},
	} {
		p.Set(f)
		got, err := converse(t, p.Addr(), want)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d octets, %v; want all %d as sent", name, len(got), err, len(want))
		}
	}
	if got, want := p.Stats(), (peertest.ProxyStats{Connections: 4, Up: 4 << 20, Down: 4 << 20}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProxyCutsAtTheOctet(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	sent := letters(100_000)
	for _, after := range []int64{1, 2, 99, 4096, 99_999} {
		for _, how := range []peertest.Cut{peertest.Close, peertest.HalfClose} {
			t.Run(fmt.Sprint(after, how), func(t *testing.T) {
				p.Set(peertest.Faults{Down: peertest.Way{CutAfter: after, How: how, Chunk: 1000}})
				got, err := converse(t, p.Addr(), sent)
				// A close while the other side sends is a reset, which may take octets with it.
				if how == peertest.HalfClose && (err != nil || int64(len(got)) != after) {
					t.Errorf("got %d octets, %v; want %d and the end of the stream", len(got), err, after)
				}
				if int64(len(got)) > after || !bytes.HasPrefix(sent, got) {
					t.Errorf("got %d octets, want the first %d at most", len(got), after)
				}
			})
		}
	}
	before := p.Stats().Cuts
	if before != 10 {
		t.Errorf("got %d cuts, want 10", before)
	}
	p.Set(peertest.Faults{Up: peertest.Way{CutAfter: 500, How: peertest.HalfClose}})
	if got, err := converse(t, p.Addr(), sent); err != nil || !bytes.Equal(got, sent[:500]) {
		t.Errorf("half-close of the way up: got %d octets, %v; want an echo of 500", len(got), err)
	}
}

func TestProxyResets(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	p.Set(peertest.Faults{Down: peertest.Way{CutAfter: 10, How: peertest.Reset}})
	conn := dial(t, p.Addr())
	if _, err := conn.Write(letters(100)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("after a reset the client saw a plain end")
	}
	p.Set(peertest.Faults{Refuse: true})
	refused, err := net.Dial("tcp", p.Addr())
	if err == nil {
		_, err = io.ReadAll(refused)
		_ = refused.Close()
	}
	if err == nil {
		t.Error("a refused connection saw a plain end")
	}
	if got := p.Stats(); got.Refused != 1 || got.Connections != 2 {
		t.Errorf("got %v, want 2 connections, 1 refused", got)
	}
}

func TestProxyStallsUntilCut(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	p.Set(peertest.Faults{Down: peertest.Way{StallAfter: 10}})
	conn := dial(t, p.Addr())
	if _, err := conn.Write(letters(100)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, letters(10)) {
		t.Fatalf("got %q, %v; want the first 10 octets", got, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if n, err := conn.Read(got); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("got %d octets, %v; want silence", n, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p.CutAll(peertest.Close)
	if n, err := conn.Read(got); n != 0 || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("got %d octets, %v; want the end", n, err)
	}
}

func TestProxyDelaysEachWay(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	const delay = 30 * time.Millisecond
	p.Set(peertest.Faults{Up: peertest.Way{Delay: delay}, Down: peertest.Way{Delay: delay}})
	conn := dial(t, p.Addr())
	start := time.Now()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*delay {
		t.Errorf("there and back took %v, want %v or more", took, 2*delay)
	}
}

func TestProxyFlipsOneBit(t *testing.T) {
	p := peertest.NewProxy(t, echo(t))
	p.Set(peertest.Faults{Up: peertest.Way{FlipAfter: 5, Chunk: 2}})
	if got, err := converse(t, p.Addr(), []byte("abcdefgh")); err != nil || string(got) != "abcdeggh" {
		t.Errorf("got %q, %v; want f turned into g", got, err)
	}
}

func TestProxyRandomCutsRepeat(t *testing.T) {
	const most = 10_000
	first, again, other := peertest.RandomCuts(1, most), peertest.RandomCuts(1, most), peertest.RandomCuts(2, most)
	differ, up := 0, 0
	for i := range 100 {
		f := first(i)
		if f != again(i) {
			t.Fatalf("connection %d: the same seed gave other cuts", i)
		}
		if f != other(i) {
			differ++
		}
		if f.Up.CutAfter > 0 {
			up++
		}
		if n := f.Up.CutAfter + f.Down.CutAfter; n < 1 || n > most {
			t.Errorf("connection %d: cut after %d octets, want 1 to %d", i, n, most)
		}
	}
	if differ < 90 || up == 0 || up == 100 {
		t.Errorf("%d of 100 differ under another seed, %d are on the way up", differ, up)
	}
}
