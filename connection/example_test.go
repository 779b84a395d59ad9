package connection_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
)

// A journal mailbox is emptied into an object store: each message is deleted only after Put returned nil.
func ExampleDrain() {
	src := connectiontest.NewMailbox([]byte("Subject: one\r\n\r\n1\r\n"), []byte("Subject: two\r\n\r\n2\r\n"))
	vol := connectiontest.NewObjectStore()
	store := func(ctx context.Context, m *connection.Message) error {
		_, err := vol.Put(ctx, "mail/"+m.Ref.ID, m.Body, nil)
		return err
	}
	stats, err := connection.Drain(context.Background(), src, store, &connection.DrainOptions{Workers: 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(stats.Stored, "stored,", stats.Deleted, "deleted,", len(src.Messages()), "left")
	// Output: 2 stored, 2 deleted, 0 left
}

// A memoryVault is a sink for Mirror that keeps messages in memory.
type memoryVault struct {
	mu       sync.Mutex
	messages map[connection.Ref][]byte
}

func (v *memoryVault) Store(_ context.Context, _ string, c *connection.Change) error {
	switch c.Op {
	case connection.Added:
		raw, err := io.ReadAll(c.Message.Body)
		if err != nil {
			return err
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.messages[c.Ref] = raw
	case connection.Removed:
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.messages, c.Ref)
	default: // flags and folders do not matter to this one
	}
	return nil
}

func (v *memoryVault) Known(_ context.Context, _ string, refs []connection.Ref) ([]bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := make([]bool, len(refs))
	for i, ref := range refs {
		_, known[i] = v.messages[ref]
	}
	return known, nil
}

// Many mailboxes are kept in step; a second run brings only what is new.
func ExampleMirror() {
	src := connectiontest.NewMailbox([]byte("Subject: one\r\n\r\n"), []byte("Subject: two\r\n\r\n"))
	sink := &memoryVault{messages: make(map[connection.Ref][]byte)}
	var checkpoints connection.MemoryCheckpoints // a real host keeps them where it keeps its mail
	for range 2 {
		stats, err := connection.Mirror(context.Background(), src, sink, &checkpoints, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(stats.Added, "added,", len(sink.messages), "in all")
		src.Deliver([]byte("Subject: three\r\n\r\n"))
	}
	// Output:
	// 2 added, 2 in all
	// 1 added, 3 in all
}

// Archived mail is sent again, byte for byte, to an auditor.
func ExampleSender() {
	vol, out := connectiontest.NewObjectStore(), connectiontest.NewOutbox()
	ctx := context.Background()
	replay := func(key, to string) error {
		obj, err := vol.Get(ctx, key, nil)
		if err != nil {
			return err
		}
		receipt, err := out.Send(ctx, connection.Envelope{From: "archive@example.org", To: []string{to}}, obj.Body, nil)
		switch {
		case errors.Is(err, connection.ErrUncertain):
			fmt.Println("it may have been sent: ask before sending again")
		case err == nil:
			fmt.Println("sent to", receipt.Accepted)
		}
		return errors.Join(err, obj.Body.Close())
	}
	for name, raw := range map[string]string{"mail/1": "Subject: one\r\n\r\n"} {
		if _, err := vol.Put(ctx, name, strings.NewReader(raw), nil); err != nil {
			fmt.Println(err)
			return
		}
		if err := replay(name, "auditor@example.org"); err != nil {
			fmt.Println(err)
		}
	}
	// Output: sent to [auditor@example.org]
}

// A host stores settings as JSON and opens them by their driver's name. A mistake names the field and the remedy.
func ExampleRegistry_Open() {
	reg := connection.NewRegistry(demo) // a program lists its drivers, or uses alldrivers.New
	for _, text := range []string{
		`{"server": "mail.example.org", "username": "journal", "mode": "starttls"}`,
		`{"server": "mail.example.org", "usrname": "journal"}`,
		`{"server": "mail.example.org", "no_data_timeout": "soon"}`,
	} {
		c, err := reg.Open(connection.Settings{ID: "vol1", Driver: "demo", Config: json.RawMessage(text)}, nil)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(c.Info().Driver, c.Info().Endpoint)
	}
	// Output:
	// demo mail.example.org
	// demo open: invalid setting: config: "usrname": unknown field; did you mean "username"?
	// demo open: invalid setting: config: no_data_timeout: "soon" is no duration: want one like "30s" or "1m30s", or a number of milliseconds
}

// A capability is asked for once; what a connection lacks is said by name.
func ExampleAs() {
	var c connection.Connection = connectiontest.NewOutbox()
	if _, err := connection.As[connection.Sender](c); err == nil {
		fmt.Println("it can send")
	}
	_, err := connection.As[connection.Source](c)
	fmt.Println(errors.Is(err, connection.ErrUnsupported))
	// Output:
	// it can send
	// true
}

// A message is read once and then as often as needed.
func ExampleSpool() {
	s, err := connection.Spool(&connection.Message{Body: strings.NewReader("Subject: one\r\n\r\n")}, &connection.SpoolOptions{Max: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		raw, err := io.ReadAll(s.Reader())
		fmt.Println(len(raw), err)
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 16 <nil>
	// 16 <nil>
}
