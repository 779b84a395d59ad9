package connectiontest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/connection/connectiontest"
)

// A program that archives is tested without a server: what the store refuses stays in the mailbox.
func ExampleNewMailbox() {
	mail := connectiontest.NewMailbox([]byte("Subject: one\r\n\r\n"), []byte("Subject: two\r\n\r\n"))
	store := connectiontest.NewObjectStore()
	store.Inject(func(op, key string) error {
		if op == "put" && key == "INBOX/2" {
			return connection.ErrQuota
		}
		return nil
	})
	sink := func(ctx context.Context, m *connection.Message) error {
		_, err := store.Put(ctx, m.Ref.String(), m.Body, nil)
		return err
	}
	stats, err := connection.Drain(context.Background(), mail, sink, &connection.DrainOptions{MaxAttempts: 1})
	if err != nil && !errors.Is(err, connection.ErrQuota) {
		log.Fatal(err)
	}
	fmt.Println("stored", stats.Stored, "left", len(mail.Messages()))
	fmt.Printf("%q\n", mail.Messages()[0])
	// Output:
	// stored 1 left 1
	// "Subject: two\r\n\r\n"
}

func ExampleNewOutbox() {
	box := connectiontest.NewOutbox("nobody@example.org")
	env := connection.Envelope{From: "ann@example.org", To: []string{"bob@example.org", "nobody@example.org"}}
	m := connectiontest.Corpus()[0]
	receipt, err := box.Send(context.Background(), env, bytes.NewReader(m.Raw), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Accepted, receipt.Rejected[0].Address)
	fmt.Println(len(box.Sent()), box.Sent()[0].To)
	// Output:
	// [bob@example.org] nobody@example.org
	// 1 [bob@example.org]
}

func ExampleFaultyTransport() {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	client := &http.Client{Transport: connectiontest.FaultyTransport(nil, connectiontest.Status(1, 503, "Retry-After: 2"))}
	for range 2 {
		resp, err := client.Get(srv.URL)
		if err != nil {
			log.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			log.Fatal(err)
		}
		fmt.Println(resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	// Output:
	// 503 2
	// 404
}

func ExampleFaultyDial() {
	// The first connection of a driver breaks after 1000 octets; if it connects again, the line works.
	env := &connection.Env{Dial: connectiontest.FaultyDial(nil, connectiontest.First(1, connectiontest.ResetAfter(1000)))}
	fmt.Println(env.Dial != nil)
	// Output: true
}
