package connectiontest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

type wireServer struct {
	listener net.Listener
	mail     *Mailbox
	objects  *ObjectStore
	outbox   *Outbox
}

func newWireServer(t testing.TB) *wireServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wireServer{listener: l, mail: NewMailbox(), objects: NewObjectStore(), outbox: NewOutbox()}
	t.Cleanup(func() { must(l.Close()) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// serve answers one request. Errors of the line end it; the peer sees that.
func (s *wireServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	var q wireHead
	if readHead(r, &q) != nil {
		return
	}
	raw := make([]byte, q.Size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // the client says no more; when it hangs up we stop
		_, _ = r.ReadByte()
		cancel()
	}()
	answer := func(h wireHead, octets []byte) bool {
		h.Size = int64(len(octets))
		return writeHead(conn, h, octets) == nil
	}
	var err error
	var octets []byte
	switch q.Op {
	case "test":
	case "fetch":
		for m, err := range s.mail.Fetch(ctx, &connection.FetchOptions{Follow: q.Follow}) {
			if err != nil {
				return
			}
			raw, err := io.ReadAll(m.Body)
			m.Body = nil
			if err != nil || !answer(wireHead{Message: m}, raw) {
				return
			}
		}
	case "delete":
		err = s.mail.Delete(ctx, q.Refs...)
	case "put":
		_, err = s.objects.Put(ctx, q.Key, bytes.NewReader(raw), nil)
	case "get":
		octets = s.objects.Objects()[q.Key]
		if octets == nil {
			err = connection.ErrNotFound
		}
	case "remove":
		err = s.objects.Delete(ctx, q.Key)
	case "send":
		_, err = s.outbox.Send(ctx, *q.Env, bytes.NewReader(raw), nil)
	}
	h := wireHead{End: true}
	if err != nil {
		h.Error, h.Kind = err.Error(), connection.KindOf(err)
	}
	answer(h, octets)
}

func readHead(r *bufio.Reader, h *wireHead) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, h)
}

func writeHead(w io.Writer, h wireHead, octets []byte) error {
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = w.Write(append(append(line, '\n'), octets...))
	return err
}
