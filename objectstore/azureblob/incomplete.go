package azureblob

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/backoff"
	"github.com/mailconn/mailconn/objectstore"
)

// What an unfinished upload leaves behind are blocks that belong to no blob. If the key holds nothing else, a listing shows
// it when asked to; its blocks can then be removed by deleting it. Blocks beside an object that is there cannot be listed
// nor removed without writing that anew: the service forgets them after a week.

// Incomplete implements objectstore.IncompleteLister.
func (b *backend) Incomplete(ctx context.Context, token string) ([]connection.Incomplete, string, error) {
	items, next, err := b.unfinished(ctx, "", token, pageSize)
	if err != nil {
		return nil, "", err
	}
	var found []connection.Incomplete
	for _, item := range items {
		one, ok, err := b.blocks(ctx, item)
		if err != nil {
			return nil, "", err
		}
		objectstore.Progress(ctx) // a page may need thousands of these
		if ok {
			found = append(found, one.Incomplete)
		}
	}
	return found, next, nil
}

// unfinished lists what may be an unfinished upload: entries of no octets, empty objects among them.
func (b *backend) unfinished(ctx context.Context, prefix, token string, size int32) ([]*container.BlobItem, string, error) {
	resp, err := b.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Include: container.ListBlobsInclude{UncommittedBlobs: true}, Marker: given(token), MaxResults: &size, Prefix: given(prefix),
		ResponseFormat: container.StorageResponseFormatXML,
	}).NextPage(ctx)
	if err != nil {
		return nil, "", b.failAt(ctx, err, connection.ErrChanged)
	}
	var items []*container.BlobItem
	if resp.Segment != nil {
		for _, item := range resp.Segment.BlobItems {
			if item.Name != nil && item.Properties != nil && deref(item.Properties.ContentLength) == 0 && !folder(item) {
				items = append(items, item)
			}
		}
	}
	return items, deref(resp.NextMarker), nil
}

// A leftover is an unfinished upload, or several to the same key.
type leftover struct {
	connection.Incomplete
	uploads map[string]bool // "" for blocks of other programs
}

// blocks describes an entry, if it is an unfinished upload and no empty object.
func (b *backend) blocks(ctx context.Context, item *container.BlobItem) (one leftover, ok bool, err error) {
	key := *item.Name
	_, err = b.properties(ctx, key)
	if err == nil {
		return one, false, nil
	}
	if !errors.Is(err, connection.ErrNotFound) {
		return one, false, err
	}
	list, err := b.blockBlob(key).GetBlockList(ctx, blockblob.BlockListTypeUncommitted, nil)
	if err != nil {
		err = b.fail(ctx, err, connection.ErrChanged)
		if errors.Is(err, connection.ErrNotFound) {
			err = nil // it has gone meanwhile
		}
		return one, false, err
	}
	one = leftover{connection.Incomplete{ID: key, Key: key, Started: deref(item.Properties.LastModified)}, make(map[string]bool)}
	var newest time.Time
	for _, block := range list.UncommittedBlocks {
		one.Size += deref(block.Size)
		upload, began, _ := uploadOf(deref(block.Name))
		one.uploads[upload] = true
		if began.After(newest) {
			newest = began
		}
	}
	if !newest.IsZero() {
		one.Started = newest // of several uploads to one key the youngest counts: it may be under way
	}
	return one, len(list.UncommittedBlocks) > 0, nil
}

// AbortIncomplete implements objectstore.IncompleteLister.
func (b *backend) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	return b.discard(ctx, one.Key, func(now leftover) bool { return !now.Started.After(one.Started) })
}

// lateBlocks is how long Abort waits for blocks that were sent when the upload was given up.
const lateBlocks = 250 * time.Millisecond

// abandoned are the newest uploads that Abort has removed. A block of theirs may come later still (and Azurite forgets
// none of a blob that is deleted): it keeps no other upload of its key from being removed.
type abandoned struct {
	mu    sync.Mutex
	names [256]string
	next  int
}

func (a *abandoned) add(upload string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names[a.next%len(a.names)] = upload
	a.next++
}

func (a *abandoned) has(upload string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.names[:], upload) && upload != ""
}

// Abort implements objectstore.PartPutter. While somebody else uploads to the same key, the blocks of both stay.
func (b *backend) Abort(ctx context.Context, key, upload string) error {
	late, staged := b.staged.Load(upload)
	if !staged {
		return nil
	}
	ours := func(now leftover) bool {
		for other := range now.uploads {
			if other != upload && !b.abandoned.has(other) {
				return false
			}
		}
		return true
	}
	if late == true {
		// They would make the upload appear again.
		if err := backoff.Wait(ctx, lateBlocks); err != nil {
			return err
		}
	}
	if err := b.discard(ctx, key, ours); err != nil {
		return err
	}
	b.staged.Delete(upload)
	b.abandoned.add(upload)
	return nil
}

// discard removes the blocks of key, if it holds no object and may says so: by deleting the blob that is not one yet. An
// upload that is finished at this moment must not be what is deleted. So the first condition is one that no object can
// meet; where the service applies it to unfinished uploads too, the second is the ETag, which an object does not share.
func (b *backend) discard(ctx context.Context, key string, may func(leftover) bool) error {
	items, _, err := b.unfinished(ctx, key, "", 1)
	if err != nil {
		return err
	}
	if len(items) == 0 || *items[0].Name != key {
		return nil
	}
	one, ok, err := b.blocks(ctx, items[0])
	if err != nil || !ok || !may(one) {
		return err
	}
	never := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // was an object last modified
	conditions := []*blob.AccessConditions{
		{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfUnmodifiedSince: &never}},
		ifMatch(etag(items[0].Properties.ETag)),
	}
	for _, condition := range conditions {
		if condition == nil {
			continue
		}
		_, err = b.blob(key).Delete(ctx, &blob.DeleteOptions{AccessConditions: condition})
		err = b.fail(ctx, err, connection.ErrChanged)
		if !errors.Is(err, connection.ErrChanged) {
			break
		}
	}
	if !errors.Is(err, connection.ErrChanged) {
		if errors.Is(err, connection.ErrNotFound) {
			return nil
		}
		return err
	}
	if _, found := b.properties(ctx, key); !errors.Is(found, connection.ErrNotFound) {
		return found // finished meanwhile, or nobody knows
	}
	return &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("the service does not remove unfinished uploads; it forgets them after a week")}
}
