package objecttest

import (
	"net"
	"sync"
	"testing"
)

// DeadAddr returns an address of the loopback on which nobody listens: connections are refused.
func DeadAddr(t testing.TB) string {
	t.Helper()
	l := listenFor(t)
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatalf("objecttest: %v", err)
	}
	return addr
}

// BlackHole returns an address of the loopback where connections are accepted, and nothing is ever read or answered until
// the test ends.
func BlackHole(t testing.TB) string {
	t.Helper()
	addr, end := blackHole(t)
	t.Cleanup(end)
	return addr
}

func blackHole(t testing.TB) (addr string, end func()) {
	t.Helper()
	l := listenFor(t)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }() // nobody is there to be told
		}
	})
	return l.Addr().String(), func() {
		_ = l.Close() // the goroutine ends by it
		running.Wait()
	}
}

func listenFor(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("objecttest: %v", err)
	}
	return l
}
