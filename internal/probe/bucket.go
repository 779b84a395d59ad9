package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// Prefix is that of the objects which Test writes and removes again.
const Prefix = "mailconn-test/"

// BucketOptions say how the steps of a bucket go.
type BucketOptions struct {
	Write bool
	// KeepsAll says that what is written cannot be removed again (a bucket that locks by default): "" = it can, else why.
	KeepsAll string
	// IfAbsent says that the engine has a conditional put. Ignored, if not nil, is called when the server turns out not to
	// obey it.
	IfAbsent bool
	Ignored  func()
	// IgnoredHint is the hint of the warning that follows.
	IgnoredHint string
}

// Bucket adds the steps read, write and remove. Reading asks for one entry of the listing; writing puts an object twice
// with IfAbsent, of which the second must be refused, and reads it back.
func (p *Probe) Bucket(ctx context.Context, store connection.ObjectStore, o BucketOptions) {
	p.Step("read", func() (string, string, error) { return first(ctx, store) })
	switch {
	case !o.Write:
		p.Skip("write", "not asked for")
		p.Skip("remove", "not asked for")
		return
	case o.KeepsAll != "":
		p.Skip("write", o.KeepsAll)
		p.Skip("remove", o.KeepsAll)
		return
	}
	key, written := Prefix+strings.ToLower(rand.Text()), false
	p.Step("write", func() (detail, hint string, err error) {
		detail, hint, written, err = write(ctx, store, key, o)
		return detail, hint, err
	})
	switch {
	case written && !p.OK():
		// The probe is not to stay, whatever failed.
		if err := store.Delete(ctx, key); err != nil {
			p.Skip("remove", "an earlier step failed, and the object "+key+" stays behind: "+err.Error())
			return
		}
		p.Skip("remove", "an earlier step failed; the object that was written is gone")
	default:
		p.Step("remove", func() (string, string, error) { return "", "", store.Delete(ctx, key) })
	}
}

func first(ctx context.Context, store connection.ObjectStore) (detail, hint string, err error) {
	detail = "no objects yet"
	for info, err := range store.List(ctx, &connection.ListOptions{Limit: 1}) {
		if err != nil {
			return "", "", err
		}
		detail = "the first object is " + info.Key
	}
	return detail, "", nil
}

func write(ctx context.Context, store connection.ObjectStore, key string, o BucketOptions) (detail, hint string, written bool, err error) {
	content := []byte("mailconn was here: " + key + "\n")
	put := func() error {
		_, err := store.Put(ctx, key, bytes.NewReader(content), &connection.PutOptions{IfAbsent: o.IfAbsent})
		return err
	}
	if err := put(); err != nil {
		return "", "", errors.Is(err, connection.ErrUncertain), err
	}
	detail = fmt.Sprintf("%d octets, put once and read back", len(content))
	if o.IfAbsent {
		switch err := put(); {
		case errors.Is(err, connection.ErrExists):
			detail = fmt.Sprintf("%d octets, put once, refused the second time, and read back", len(content))
		case err == nil, errors.Is(err, connection.ErrUnsupported):
			detail = "the server ignores put-if-absent"
			if err != nil {
				detail = err.Error()
			}
			hint = o.IgnoredHint
			if o.Ignored != nil {
				o.Ignored()
			}
		default:
			return "", "", true, err
		}
	}
	object, err := store.Get(ctx, key, nil)
	if err != nil {
		return detail, "", true, err
	}
	got, err := io.ReadAll(io.LimitReader(object.Body, int64(len(content))+1))
	if err := errors.Join(err, object.Body.Close()); err != nil {
		return detail, "", true, err
	}
	if !bytes.Equal(got, content) {
		info := store.Info()
		return detail, "", true, &connection.Error{
			Op: "test", Driver: info.Driver, Endpoint: info.Endpoint, Key: key,
			Kind: connection.ErrCorrupt, Err: errors.New("what was written is not what is read"),
		}
	}
	return detail, hint, true, nil
}
