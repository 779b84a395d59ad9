package b2_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/b2"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func ExampleOpen() {
	ctx := context.Background()
	srv, err := objecttest.ListenB2(&objecttest.B2Options{KeyID: "005a1b2c3", Key: "K005secret"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	store, err := b2.Open(b2.Config{Settings: objectstore.Settings{
		Identity:   "005a1b2c3",
		Credential: connection.NewSecret("K005secret"),
		Bucket:     "archive",
		Location:   srv.URL(), // leave it out to reach Backblaze
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			log.Print(err)
		}
	}()

	if _, err := store.Put(ctx, "mails/1", strings.NewReader("Subject: Hello\r\n\r\n"), nil); err != nil {
		log.Fatal(err)
	}
	object, err := store.Get(ctx, "mails/1", nil)
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(object.Body)
	if err != nil {
		log.Fatal(err)
	}
	if err := object.Body.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d octets: %q\n", object.Size, text)
	// Output: 18 octets: "Subject: Hello\r\n\r\n"
}

func ExampleConn_Delete() {
	ctx := context.Background()
	srv, err := objecttest.ListenB2(&objecttest.B2Options{KeyID: "005a1b2c3", Key: "K005secret", Capabilities: []string{"listBuckets", "listFiles", "readFiles", "writeFiles"}})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	// A duty to erase is not done with a marker.
	env := &connection.Env{Observe: func(e connection.Event) {
		if e.Kind == connection.EventMarker {
			fmt.Printf("%s is hidden, not erased: %s\n", e.Key, e.Detail)
		}
	}}
	store, err := b2.Open(b2.Config{Settings: objectstore.Settings{
		Identity: "005a1b2c3", Credential: connection.NewSecret("K005secret"), Bucket: "archive", Location: srv.URL(),
	}}, env)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			log.Print(err)
		}
	}()
	if _, err := store.Put(ctx, "mails/1", strings.NewReader("..."), nil); err != nil {
		log.Fatal(err)
	}
	if err := store.Delete(ctx, "mails/1"); err != nil {
		log.Fatal(err)
	}
	// Output: mails/1 is hidden, not erased: the application key may not delete
}
