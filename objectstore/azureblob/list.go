package azureblob

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// pageSize is how many entries of a listing are asked for at once. The service gives up to 5,000, but then a page may hold
// 46 MB of metadata, and is in memory several times while it is read.
const pageSize = 2500

// List implements objectstore.Backend: List Blobs. The service does not know After, so its pages begin at the prefix.
func (b *backend) List(ctx context.Context, req *objectstore.ListRequest) (*objectstore.Page, error) {
	size := int32(pageSize)
	if req.Limit > 0 && req.Limit < pageSize && req.After == "" && len(req.Delimiter) < 2 {
		size = int32(req.Limit)
	}
	include := container.ListBlobsInclude{Metadata: true}
	var (
		items []*container.BlobItem
		next  *string
		page  objectstore.Page
	)
	// Some servers know delimiters of one character only: others are dealt with here.
	fold := len(req.Delimiter) > 1
	if req.Delimiter == "" || fold {
		resp, err := b.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
			Include: include, Marker: given(req.Token), MaxResults: &size, Prefix: given(req.Prefix), ResponseFormat: container.StorageResponseFormatXML,
		}).NextPage(ctx)
		if err != nil {
			return nil, b.failAt(ctx, err, connection.ErrChanged)
		}
		if resp.Segment != nil {
			items = resp.Segment.BlobItems
		}
		next = resp.NextMarker
	} else {
		resp, err := b.container.NewListBlobsHierarchyPager(req.Delimiter, &container.ListBlobsHierarchyOptions{
			Include: include, Marker: given(req.Token), MaxResults: &size, Prefix: given(req.Prefix), ResponseFormat: container.StorageResponseFormatXML,
		}).NextPage(ctx)
		if err != nil {
			return nil, b.failAt(ctx, err, connection.ErrChanged)
		}
		if resp.Segment != nil {
			items = resp.Segment.BlobItems
			for _, p := range resp.Segment.BlobPrefixes {
				page.Entries = append(page.Entries, connection.ObjectInfo{Key: deref(p.Name), Prefix: true})
			}
		}
		next = resp.NextMarker
	}
	for _, item := range items {
		if item.Name == nil || item.Properties == nil {
			return nil, &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the listing has an entry without a name or properties")}
		}
		if folder(item) {
			continue
		}
		info := listInfo(item)
		if head, _, ok := strings.Cut(strings.TrimPrefix(info.Key, req.Prefix), req.Delimiter); ok && fold {
			info = connection.ObjectInfo{Key: req.Prefix + head + req.Delimiter, Prefix: true}
		}
		page.Entries = append(page.Entries, info)
	}
	// Prefixes come apart from objects, and some servers compare keys in units of UTF-16.
	slices.SortFunc(page.Entries, func(x, y connection.ObjectInfo) int { return cmp.Compare(x.Key, y.Key) })
	page.Token = deref(next)
	return &page, nil
}

// given returns nil for "".
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// folder reports whether an entry is a directory of an account with a hierarchical namespace, and no object.
func folder(item *container.BlobItem) bool {
	return deref(item.Properties.ResourceType) == "directory" || deref(item.Metadata["hdi_isfolder"]) == "true"
}

func listInfo(item *container.BlobItem) connection.ObjectInfo {
	p := item.Properties
	info := connection.ObjectInfo{
		Key: *item.Name, Size: deref(p.ContentLength), Modified: deref(p.LastModified), ETag: etag(p.ETag), ContentType: deref(p.ContentType),
		Class: string(deref(p.AccessTier)), Version: deref(item.VersionID), Lock: lockOf(p.ImmutabilityPolicyExpiresOn, p.LegalHold),
		Restore: restoreState(string(deref(p.AccessTier)), string(deref(p.ArchiveStatus))),
	}
	setMeta(&info, item.Metadata)
	return info
}
