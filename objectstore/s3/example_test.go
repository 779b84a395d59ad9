package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/s3"
)

func Example() {
	srv, err := objecttest.ListenS3(&objecttest.S3Options{AccessKey: "AKIDEXAMPLE", SecretKey: "a secret key"}) // stands for a store
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	if err := archive(context.Background(), srv.URL()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// stored 6 octets
	// a second time: already exists
	// Hello!
}

func archive(ctx context.Context, location string) (err error) {
	c, err := s3.Open(s3.Config{Settings: objectstore.Settings{
		Location: location, Bucket: "archive", Identity: "AKIDEXAMPLE", Credential: connection.NewSecret("a secret key"),
	}}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	once := &connection.PutOptions{IfAbsent: true, ContentType: "message/rfc822"}
	info, err := c.Put(ctx, "2026/mail.eml", strings.NewReader("Hello!"), once)
	if err != nil {
		return err
	}
	fmt.Println("stored", info.Size, "octets")
	_, err = c.Put(ctx, "2026/mail.eml", strings.NewReader("Other"), once)
	fmt.Println("a second time:", connection.KindOf(err))

	o, err := c.Get(ctx, "2026/mail.eml", nil)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(o.Body)
	fmt.Println(string(raw))
	return errors.Join(err, o.Body.Close())
}
