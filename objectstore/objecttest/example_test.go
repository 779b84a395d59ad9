package objecttest_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/objecttest"
	"github.com/mailconn/mailconn/objectstore/s3"
)

// A server that is busy twice, and what a store made of it.
func ExampleListenS3() {
	srv, err := objecttest.ListenS3(&objecttest.S3Options{AccessKey: "AKIDEXAMPLE", SecretKey: "a secret key"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.Fail("PutObject", 2, objecttest.Status(503, "", "Retry-After: 0"))

	store, err := s3.Open(s3.Config{Settings: objectstore.Settings{
		Location: srv.URL(), Bucket: "archive", Identity: "AKIDEXAMPLE", Credential: connection.NewSecret("a secret key"),
	}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.Put(context.Background(), "mail/1", strings.NewReader("Subject: one\r\n\r\n"), nil); err != nil {
		log.Fatal(err)
	}
	if err := store.Close(); err != nil {
		log.Fatal(err)
	}
	for _, r := range srv.Requests("PutObject") {
		fmt.Println(r.Op, r.Status)
	}
	fmt.Println(len(srv.Objects()), "object")
	// Output:
	// PutObject 503
	// PutObject 503
	// PutObject 200
	// 1 object
}
