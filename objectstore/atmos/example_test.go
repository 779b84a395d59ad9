package atmos_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/atmos"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func ExampleOpen() {
	ctx := context.Background()
	srv, err := objecttest.ListenAtmos(&objecttest.AtmosOptions{Secret: "c2hhcmVkIHNlY3JldA=="})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	store, err := atmos.Open(atmos.Config{Settings: objectstore.Settings{
		Identity:   "subtenant/archiver",
		Credential: connection.NewSecret("c2hhcmVkIHNlY3JldA=="),
		Location:   srv.URL(),
		Bucket:     "archive",
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			log.Print(err)
		}
	}()

	text := "Subject: Hello\r\n\r\n"
	if _, err := store.Put(ctx, "mails/1", strings.NewReader(text), &connection.PutOptions{IfAbsent: true}); err != nil {
		log.Fatal(err)
	}
	object, err := store.Get(ctx, "mails/1", nil)
	if err != nil {
		log.Fatal(err)
	}
	got, err := io.ReadAll(object.Body)
	if err != nil {
		log.Fatal(err)
	}
	if err := object.Body.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d octets: %q\n", object.Size, got)
	// Output: 18 octets: "Subject: Hello\r\n\r\n"
}
