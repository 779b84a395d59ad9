// Command minio is a contender of the benchmark: it puts the files of a folder into a bucket, or gets the objects below a
// prefix into a folder, with minio-go as its documentation has it. It is a module of its own, so that minio-go and all that
// it needs stay out of the module that is measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// A task is what the benchmark asks for, as JSON.
type task struct {
	Dir     string `json:"dir"`
	Address string `json:"address"` // the prefix
	Sink    string `json:"sink"`    // put or get
	Workers int    `json:"workers"`
	Config  struct {
		Location   string `json:"location"`
		Bucket     string `json:"bucket"`
		Identity   string `json:"identity"`
		Credential string `json:"credential"`
	} `json:"config"`
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "minio:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	u, err := url.Parse(t.Config.Location)
	if err != nil {
		return err
	}
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return err
	}
	transport.MaxIdleConnsPerHost = 64 // its default is for fewer workers
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(t.Config.Identity, t.Config.Credential, ""), Secure: u.Scheme == "https", Transport: transport,
	})
	if err != nil {
		return err
	}
	if t.Sink == "put" {
		return t.put(ctx, client)
	}
	return t.get(ctx, client)
}

func (t *task) put(ctx context.Context, client *minio.Client) error {
	entries, err := os.ReadDir(t.Dir)
	if err != nil {
		return err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return t.each(names, func(name string) error {
		_, err := client.FPutObject(ctx, t.Config.Bucket, path.Join(t.Address, name), filepath.Join(t.Dir, name), minio.PutObjectOptions{ContentType: "message/rfc822"})
		return err
	})
}

func (t *task) get(ctx context.Context, client *minio.Client) error {
	var keys []string
	for o := range client.ListObjects(ctx, t.Config.Bucket, minio.ListObjectsOptions{Prefix: t.Address + "/", Recursive: true}) {
		if o.Err != nil {
			return o.Err
		}
		keys = append(keys, o.Key)
	}
	return t.each(keys, func(key string) error {
		return client.FGetObject(ctx, t.Config.Bucket, key, filepath.Join(t.Dir, path.Base(key)), minio.GetObjectOptions{})
	})
}

func (t *task) each(names []string, f func(name string) error) error {
	next := make(chan string)
	errs := make([]error, t.Workers)
	var wg sync.WaitGroup
	for i := range t.Workers {
		wg.Go(func() {
			for name := range next {
				errs[i] = errors.Join(errs[i], f(name))
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}
