package peertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Cut says how a [Proxy] ends a connection.
type Cut uint8

// The ways to end a connection.
const (
	Close     Cut = iota // both sides see the end of the stream, or a reset if they go on sending
	Reset                // both sides see a reset (RST). Octets that are still on their way may be lost
	HalfClose            // the receiver sees the end of the stream; the other way goes on
)

// A Way is what happens to one direction of a connection. The zero Way passes everything on as it comes. CutAfter,
// StallAfter and FlipAfter count octets that were passed on; 0 means never.
type Way struct {
	CutAfter   int64         // end the connection after so many octets, as How says
	How        Cut           // of CutAfter
	StallAfter int64         // pass on so many octets and then nothing, with the connection open
	FlipAfter  int64         // invert the lowest bit of the octet after so many
	Delay      time.Duration // each octet arrives so much later; throughput is not limited
	Chunk      int           // octets passed on in one write at most: 1 = one at a time; 0 = as they come
}

// Faults are what happens to one connection.
type Faults struct {
	Refuse bool // end it with a reset as soon as it is accepted, without asking the server
	Up     Way  // client to server
	Down   Way  // server to client
}

// ProxyStats count what a [Proxy] has seen.
type ProxyStats struct {
	Connections int64 // accepted, with those that were refused
	Refused     int64
	Cuts        int64 // connections ended by CutAfter or CutAll
	Up, Down    int64 // octets passed on
}

// String describes the stats in one line.
func (s ProxyStats) String() string {
	return fmt.Sprintf("%d connections (%d refused, %d cut), %d octets up, %d down", s.Connections, s.Refused, s.Cuts, s.Up, s.Down)
}

// A Proxy passes TCP connections on to a server, with faults. It listens on loopback. Its methods may be called from
// several goroutines.
type Proxy struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup
	stats    struct{ connections, refused, cuts, up, down atomic.Int64 }

	mu     sync.Mutex
	plan   func(connection int) Faults
	links  map[*link]struct{}
	closed bool
}

// NewProxy starts a proxy to target ("host:port") that ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := StartProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// StartProxy starts a proxy to target ("host:port"). The caller must Close it.
func StartProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{target: target, listener: l, links: make(map[*link]struct{})}
	p.Set(Faults{})
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the "host:port" that clients dial.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Host returns the host of Addr.
func (p *Proxy) Host() string { return p.listener.Addr().(*net.TCPAddr).IP.String() }

// Port returns the port of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Set gives every connection that is accepted from now on the same faults.
func (p *Proxy) Set(f Faults) { p.Plan(func(int) Faults { return f }) }

// Plan asks plan for the faults of each connection that is accepted from now on. Connections are numbered from 0, from
// the proxy's start. plan is called from one goroutine.
func (p *Proxy) Plan(plan func(connection int) Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
}

// RandomCuts returns a plan that cuts each connection after a random number of octets from 1 to most, either way, in a
// random manner. The same seed gives the same cuts.
func RandomCuts(seed uint64, most int64) func(connection int) Faults {
	return func(connection int) Faults {
		r := rand.New(rand.NewPCG(seed, uint64(connection)))
		way := Way{CutAfter: 1 + r.Int64N(most), How: Cut(r.IntN(3))}
		if r.IntN(4) == 0 { // clients say less than servers: most cuts on their side would never be reached
			way.CutAfter = 1 + way.CutAfter%(most/100+1)
			return Faults{Up: way}
		}
		return Faults{Down: way}
	}
}

// Stats returns what was counted so far.
func (p *Proxy) Stats() ProxyStats {
	return ProxyStats{
		Connections: p.stats.connections.Load(), Refused: p.stats.refused.Load(), Cuts: p.stats.cuts.Load(),
		Up: p.stats.up.Load(), Down: p.stats.down.Load(),
	}
}

// CutAll ends the connections that are open now, stalled ones too.
func (p *Proxy) CutAll(how Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		p.stats.cuts.Add(1)
		l.end(how)
	}
}

// Close ends all connections and returns when nothing of the proxy runs any more.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.end(Close)
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for n := 0; ; n++ {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.stats.connections.Add(1)
		p.mu.Lock()
		faults := p.plan(n)
		p.mu.Unlock()
		if faults.Refuse {
			p.stats.refused.Add(1)
			hangUp(conn, Reset)
			continue
		}
		p.wg.Go(func() { p.serve(conn.(*net.TCPConn), faults) })
	}
}

// serve passes one connection on until both ways have ended.
func (p *Proxy) serve(client *net.TCPConn, faults Faults) {
	conn, err := net.Dial("tcp", p.target)
	if err != nil {
		hangUp(client, Reset) // as the server's own refusal would look
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{client: client, server: conn.(*net.TCPConn), cancel: cancel}
	p.mu.Lock()
	p.links[l] = struct{}{}
	if p.closed {
		l.end(Close)
	}
	p.mu.Unlock()
	var ways sync.WaitGroup
	ways.Go(func() { p.pass(ctx, l, l.server, l.client, faults.Up, &p.stats.up) })
	ways.Go(func() { p.pass(ctx, l, l.client, l.server, faults.Down, &p.stats.down) })
	ways.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
	l.end(Close)
}

// link is one connection on its way through the proxy.
type link struct {
	client, server *net.TCPConn
	cancel         context.CancelFunc
}

// end ends both sides. A HalfClose of all is a Close.
func (l *link) end(how Cut) {
	l.cancel()
	hangUp(l.client, how)
	hangUp(l.server, how)
}

// hangUp closes conn; its errors say that it is closed already.
func hangUp(conn net.Conn, how Cut) {
	if tcp, ok := conn.(*net.TCPConn); ok && how == Reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// parcel is what one read brought, and when it is due at the other side.
type parcel struct {
	octets []byte
	due    time.Time
}

// pass copies from src to dst until either ends, ctx is done or a fault says so.
func (p *Proxy) pass(ctx context.Context, l *link, dst, src *net.TCPConn, way Way, count *atomic.Int64) {
	// The queue holds what a delayed line has in flight; it is bounded, as a real line's window is.
	queue := make(chan parcel, 512)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(queue)
		read(ctx, src, way.Delay, queue)
	})
	defer reader.Wait()
	w := &wayWriter{Way: way, dst: dst}
	for {
		select {
		case parcel, ok := <-queue:
			if !ok {
				_ = dst.CloseWrite() // src has ended; if dst has too, there is nobody to tell
				return
			}
			err := wait(ctx, parcel.due)
			if err == nil {
				err = w.write(parcel.octets, count)
			}
			switch {
			case errors.Is(err, errStalled):
				<-ctx.Done()
				return
			case errors.Is(err, errCut) && way.How == HalfClose:
				p.stats.cuts.Add(1)
				_ = dst.CloseWrite() // if it is gone already, so much the better
				for range queue {    // the sender notices nothing
				}
				return
			case errors.Is(err, errCut):
				p.stats.cuts.Add(1)
				l.end(way.How)
				return
			case err != nil:
				l.end(Close) // dst is gone: so is the connection
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// read queues what src says until it ends or ctx is done.
func read(ctx context.Context, src io.Reader, delay time.Duration, queue chan<- parcel) {
	for {
		buf := make([]byte, 32<<10)
		n, err := src.Read(buf)
		if n > 0 {
			select {
			case queue <- parcel{buf[:n], time.Now().Add(delay)}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait returns at due.
func wait(ctx context.Context, due time.Time) error {
	left := time.Until(due)
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	errCut     = errors.New("cut")
	errStalled = errors.New("stalled")
)

// wayWriter writes to dst with the faults of a Way.
type wayWriter struct {
	Way
	dst  io.Writer
	done int64
}

// write writes octets up to the next fault, which it returns as errCut or errStalled.
func (w *wayWriter) write(octets []byte, count *atomic.Int64) error {
	for len(octets) > 0 {
		n := len(octets)
		if w.Chunk > 0 {
			n = min(n, w.Chunk)
		}
		var fault error
		// To cut wins if both are due at the same octet.
		for _, limit := range []struct {
			after int64
			err   error
		}{{w.StallAfter, errStalled}, {w.CutAfter, errCut}} {
			if left := limit.after - w.done; limit.after > 0 && left <= int64(n) {
				n, fault = int(left), limit.err
			}
		}
		if i := w.FlipAfter - w.done; w.FlipAfter > 0 && i >= 0 && i < int64(n) {
			octets[i] ^= 1
		}
		n, err := w.dst.Write(octets[:n])
		w.done += int64(n)
		count.Add(int64(n))
		if err != nil {
			return err
		}
		if fault != nil {
			return fault
		}
		octets = octets[n:]
	}
	return nil
}
