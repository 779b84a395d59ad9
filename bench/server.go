package main

import (
	"net"
	"sync"
)

// A server is one that rows are measured against in place of a real one: it costs little besides what it sends and reads.
type server struct {
	listener net.Listener
	running  sync.WaitGroup
}

// startServer runs serve for each connection, which it closes then.
func startServer(serve func(net.Conn) error) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{listener: l}
	s.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			s.running.Go(func() {
				_ = serve(conn) // the client sees what fails, and the count tells
				_ = conn.Close()
			})
		}
	})
	return s, nil
}

func (s *server) address() string { return s.listener.Addr().String() }

// close waits until all contenders have left, which they have when the row is done.
func (s *server) close() error {
	err := s.listener.Close()
	s.running.Wait()
	return err
}
