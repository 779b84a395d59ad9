package swift_test

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/swift"
)

// A message is stored once, under a key made of its digest, and read back.
func ExampleOpen() {
	// A Swift of our own; yours has a URL.
	srv, err := objecttest.ListenSwift(&objecttest.SwiftOptions{Auth: objecttest.SwiftV3, User: "archiver", Key: "secret"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	if err := store(context.Background(), srv.URL()+"/v3"); err != nil {
		fmt.Println(err)
	}
	// Output: 22 octets: Subject: hello
}

func store(ctx context.Context, keystone string) error {
	c, err := swift.Open(swift.Config{Settings: objectstore.Settings{
		Location: keystone, Identity: "mail:archiver", Credential: connection.NewSecret("secret"), Bucket: "archive",
	}, Region: "DFW"}, nil)
	if err != nil {
		return err
	}
	const key = "mail/2c/2cf24dba5fb0a30e"
	message := []byte("Subject: hello\r\n\r\nbody")
	if _, err := c.Put(ctx, key, bytes.NewReader(message), &connection.PutOptions{IfAbsent: true, ContentType: "message/rfc822"}); err != nil {
		return err
	}
	o, err := c.Get(ctx, key, nil)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(o.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%d octets: %s\n", len(raw), raw[:14])
	if err := o.Body.Close(); err != nil {
		return err
	}
	return c.Close()
}

// Rackspace takes a region and an API key.
func ExampleOpenRackspace() {
	c, err := swift.OpenRackspace(swift.RackspaceConfig{Settings: objectstore.Settings{
		Location: "LON", Identity: "archiver", Credential: connection.NewSecret("the API key"), Bucket: "archive",
	}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Info().Driver, c.Info().Endpoint)
	if err := c.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: rackspace-cloudfiles lon.identity.api.rackspacecloud.com/archive
}
