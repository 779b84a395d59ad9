package pop3client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// A POP3 account is emptied: each message is deleted only after the sink has stored it.
func ExampleOpen() {
	srv, err := pop3test.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Deliver([]byte("Subject: one\r\n\r\n1\r\n"), []byte("Subject: two\r\n\r\n2\r\n"))

	cfg := srv.Config() // of a real server: pop3client.Journal(server, username, password)
	cfg.DeleteMode = pop3client.DeleteDelete
	src, err := pop3client.Open(cfg, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := func(_ context.Context, m *connection.Message) error { // nil only when the message is safe
		raw, err := io.ReadAll(m.Body)
		if err == nil {
			fmt.Printf("%q\n", raw)
		}
		return err
	}
	stats, err := connection.Drain(context.Background(), src, store, nil)
	if err != nil {
		fmt.Println(err)
	}
	if err := src.Close(); err != nil { // the QUIT that deletes: its error matters
		fmt.Println(err)
	}
	fmt.Println(stats.Stored, "stored,", len(srv.Messages()), "left")
	// Output:
	// "Subject: one\r\n\r\n1\r\n"
	// "Subject: two\r\n\r\n2\r\n"
	// 2 stored, 0 left
}

// Mail is archived and stays on the server. The program may be started as often as it likes: nothing is fetched twice.
func ExampleConn_Sync() {
	srv, err := pop3test.Listen(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Deliver([]byte("Subject: one\r\n\r\n1\r\n"), []byte("Subject: two\r\n\r\n2\r\n"))
	archive := &archive{} // with its checkpoints; a real one keeps both on disk
	for start := 1; start <= 3; start++ {
		src, err := pop3client.Open(srv.Config(), nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		stats, err := connection.Mirror(context.Background(), src, archive, archive, nil)
		if err := errors.Join(err, src.Close()); err != nil {
			fmt.Println(err)
		}
		fmt.Printf("start %d: %d new, %d on the server\n", start, stats.Added, len(srv.Messages()))
		if start == 2 {
			srv.Deliver([]byte("Subject: three\r\n\r\n3\r\n"))
		}
	}
	// Output:
	// start 1: 2 new, 2 on the server
	// start 2: 0 new, 2 on the server
	// start 3: 1 new, 3 on the server
}

// An archive is a [connection.ChangeSink] and a [connection.CheckpointStore].
type archive struct {
	connection.MemoryCheckpoints
	mail sync.Map // by Ref
}

func (a *archive) Store(_ context.Context, _ string, c *connection.Change) error {
	if c.Op != connection.Added { // an archive keeps what others delete
		return nil
	}
	raw, err := io.ReadAll(c.Message.Body)
	if err == nil {
		a.mail.Store(c.Ref, raw)
	}
	return err
}

func (a *archive) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	known := make([]bool, len(refs))
	for i, ref := range refs {
		_, known[i] = a.mail.Load(ref)
	}
	return known, nil
}
