package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/filestore"
)

// A message is stored once, however often and by however many processes it is put.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "archive-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := filestore.Open(filestore.Config{Settings: objectstore.Settings{Location: dir}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			log.Print(err)
		}
	}()
	ctx := context.Background()
	for range 2 {
		info, err := store.Put(ctx, "mail/1.eml", strings.NewReader("Subject: one\r\n\r\n"), &connection.PutOptions{IfAbsent: true})
		switch {
		case errors.Is(err, connection.ErrExists):
			fmt.Println("it is there already")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println("stored", info.Size, "octets with the SHA-256", info.SHA256[:8])
		}
	}
	// Output:
	// stored 16 octets with the SHA-256 007aeb79
	// it is there already
}
