package b2

import (
	"context"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// pageSize is the most that one call of a listing is charged for as one.
const pageSize = 1000

type namesRequest struct {
	BucketID  string `json:"bucketId"`
	Start     string `json:"startFileName,omitempty"`
	StartID   string `json:"startFileId,omitempty"`
	Count     int    `json:"maxFileCount"`
	Prefix    string `json:"prefix,omitempty"`
	Delimiter string `json:"delimiter,omitempty"`
}

type namesReply struct {
	Files    []file `json:"files"`
	NextName string `json:"nextFileName"`
	NextID   string `json:"nextFileId"`
}

// List implements objectstore.Backend.
func (b *backend) List(ctx context.Context, req *objectstore.ListRequest) (page *objectstore.Page, err error) {
	err = b.with(ctx, func(s *session) error {
		page, err = b.names(ctx, s, req)
		return err
	})
	return page, err
}

func (b *backend) names(ctx context.Context, s *session, req *objectstore.ListRequest) (*objectstore.Page, error) {
	in := namesRequest{BucketID: s.bucket.ID, Start: req.After, Count: pageSize, Prefix: req.Prefix, Delimiter: req.Delimiter}
	if req.Token != "" {
		in.Start = req.Token
	}
	if req.Limit > 0 {
		in.Count = min(pageSize, req.Limit+1) // After itself is among them
	}
	if only := s.account.APIInfo.Storage.Prefix; strings.HasPrefix(only, in.Prefix) {
		in.Prefix = only // all that the application key may list
	}
	var out namesReply
	if err := b.api(ctx, s, opNames, in, &out); err != nil {
		return nil, err
	}
	page := &objectstore.Page{Token: out.NextName}
	for i := range out.Files {
		switch f := &out.Files[i]; f.Action {
		case actionUpload:
			page.Entries = append(page.Entries, f.object())
		case actionFolder:
			page.Entries = append(page.Entries, connection.ObjectInfo{Key: f.Name, Prefix: true})
		}
	}
	return page, nil
}

// Incomplete implements objectstore.IncompleteLister: large files that were started and not finished.
func (b *backend) Incomplete(ctx context.Context, token string) (found []connection.Incomplete, next string, err error) {
	type request struct {
		BucketID string `json:"bucketId"`
		Start    string `json:"startFileId,omitempty"`
		Count    int    `json:"maxFileCount"`
	}
	var out namesReply
	err = b.with(ctx, func(s *session) error {
		return b.api(ctx, s, opUnfinished, request{s.bucket.ID, token, 100}, &out)
	})
	for _, f := range out.Files {
		found = append(found, connection.Incomplete{ID: f.ID, Key: f.Name, Started: millis(f.Uploaded)})
	}
	return found, out.NextID, err
}

// AbortIncomplete implements objectstore.IncompleteLister.
func (b *backend) AbortIncomplete(ctx context.Context, one connection.Incomplete) error {
	return b.Abort(ctx, one.Key, one.ID)
}
