package azureblob_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func Example() {
	srv, err := objecttest.ListenAzure(&objecttest.AzureOptions{Key: key, Locks: true}) // stands for Azure
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	if err := keep(context.Background(), srv.Location()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// mail/2026/1.eml: 7 octets, Cool
	// deleting it: locked by retention or legal hold
}

// keep stores a message for ten years.
func keep(ctx context.Context, location string) (err error) {
	c, err := azureblob.Open(azureblob.Config{
		Settings: objectstore.Settings{
			Identity: "devstoreaccount1", Credential: connection.NewSecret(key), Location: location, Bucket: "mail",
		},
		StorageClass: "Cool",
	}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	const name = "mail/2026/1.eml"
	_, err = c.Put(ctx, name, strings.NewReader("Hello!\n"), &connection.PutOptions{
		IfAbsent: true, Lock: connection.Lock{RetainUntil: time.Now().AddDate(10, 0, 0)},
	})
	if err != nil {
		return err
	}
	info, err := c.Stat(ctx, name)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d octets, %s\n", info.Key, info.Size, info.Class)
	fmt.Println("deleting it:", connection.KindOf(c.Delete(ctx, name)))
	return nil
}
