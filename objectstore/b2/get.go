package b2

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/Backblaze/blazer/base"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// head asks for a file without its content.
func (b *backend) head(ctx context.Context, s *session, key string) (*file, error) {
	x := new(exchange)
	err := b.run(ctx, opDownload, x, func(ctx context.Context) error {
		r, err := s.bucket.DownloadFileByName(ctx, key, 0, 0, true)
		if err == nil {
			err = r.Close()
		}
		return err
	})
	if err != nil {
		return nil, b.missing(ctx, s, err)
	}
	f := fileOf(x.answer)
	f.Name, f.Size = key, -1
	if n, err := strconv.ParseInt(x.answer.Get("Content-Length"), 10, 64); err == nil {
		f.Size = n
	}
	return f, nil
}

// Stat implements objectstore.Backend.
func (b *backend) Stat(ctx context.Context, key string) (info connection.ObjectInfo, err error) {
	err = b.with(ctx, func(s *session) error {
		f, err := b.head(ctx, s, key)
		if err == nil {
			info = f.object()
		}
		return err
	})
	return info, err
}

// Get implements objectstore.Backend. The server has no conditions: the file is compared by the answer.
func (b *backend) Get(ctx context.Context, key string, req *objectstore.GetRequest) (reply *objectstore.Reply, err error) {
	err = b.with(ctx, func(s *session) error {
		x := new(exchange)
		length := req.Length
		if length > math.MaxInt64-req.Offset {
			length = 0 // all there is
		}
		var r *base.FileReader
		err := b.run(ctx, opDownload, x, func(ctx context.Context) (err error) {
			r, err = s.bucket.DownloadFileByName(ctx, key, req.Offset, length, false)
			return err
		})
		switch {
		case err != nil && x.status == http.StatusRequestedRangeNotSatisfiable:
			return objectstore.ErrRange
		case err != nil:
			return b.missing(ctx, s, err)
		}
		reply, err = replyOf(x, r, req)
		if err != nil {
			_ = r.Close() // not wanted
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

func replyOf(x *exchange, r *base.FileReader, req *objectstore.GetRequest) (*objectstore.Reply, error) {
	f := fileOf(x.answer)
	f.Size = int64(r.ContentLength)
	offset := int64(0)
	if x.status == http.StatusPartialContent {
		var ok bool
		if offset, f.Size, ok = contentRange(x.answer.Get("Content-Range")); !ok {
			return nil, &connection.Error{Kind: connection.ErrProtocol, Code: "Content-Range"}
		}
	}
	if req.IfMatch != "" && req.IfMatch != f.ID {
		return nil, &connection.Error{Kind: connection.ErrChanged}
	}
	return &objectstore.Reply{ObjectInfo: f.object(), Offset: offset, Body: r}, nil
}

// contentRange reads "bytes 5-9/20". A size that is not told is -1.
func contentRange(text string) (offset, size int64, ok bool) {
	span, total, _ := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	offset, err := strconv.ParseInt(first, 10, 64)
	if err != nil || offset < 0 {
		return 0, 0, false
	}
	if size, err = strconv.ParseInt(total, 10, 64); err != nil || size < 0 {
		size = -1
	}
	return offset, size, true
}
