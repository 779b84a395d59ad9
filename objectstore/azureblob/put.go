package azureblob

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// limits are the library's for one request, and the service's for the blocks of a blob.
var limits = objectstore.PartLimits{
	MaxPut: blockblob.MaxUploadBlobBytes, MinPart: 1, MaxPart: blockblob.MaxStageBlockBytes, MaxParts: blockblob.MaxBlocks,
}

// settings are what a put, the end of an upload and a copy have in common.
type settings struct {
	headers *blob.HTTPHeaders
	tier    *blob.AccessTier
	scope   *blob.CPKScopeInfo
	absent  *blob.AccessConditions
	hold    *bool
	until   *time.Time
	mode    *blob.ImmutabilityPolicySetting
}

// settings turns wishes into what the library wants. md5 is nil if it is not known.
func (b *backend) settings(contentType, class string, md5 []byte, ifAbsent bool, lock connection.Lock) (*settings, error) {
	s := &settings{headers: &blob.HTTPHeaders{BlobContentMD5: md5}}
	if contentType != "" {
		if encodeValue(contentType) != contentType {
			return nil, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("content type %q: want ASCII text", contentType)}
		}
		s.headers.BlobContentType = &contentType
	}
	if class == "" {
		class = b.cfg.StorageClass
	}
	if class != "" {
		if !oneOf(class, "Hot,Cool,Cold,Archive") {
			return nil, &connection.Error{Kind: connection.ErrUnsupported, Err: fmt.Errorf("storage class %q: want Hot, Cool, Cold or Archive", class)}
		}
		tier := blob.AccessTier(class)
		s.tier = &tier
	}
	if b.cfg.EncryptionScope != "" {
		s.scope = &blob.CPKScopeInfo{EncryptionScope: &b.cfg.EncryptionScope}
	}
	if ifAbsent {
		s.absent = putIfAbsent()
	}
	if lock.LegalHold {
		s.hold = &lock.LegalHold
	}
	if !lock.RetainUntil.IsZero() {
		until, mode := wholeSeconds(lock.RetainUntil), b.retentionMode()
		s.until, s.mode = &until, &mode
	}
	return s, nil
}

// putIfAbsent returns the condition that nothing is there.
func putIfAbsent() *blob.AccessConditions {
	anyTag := azcore.ETagAny
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &anyTag}}
}

// ready makes sure that an object may be written: that the container has the locks that are wanted, and that what is
// there has none.
func (b *backend) ready(ctx context.Context, key string, ifAbsent bool, lock connection.Lock) error {
	if lock != (connection.Lock{}) {
		if err := b.needLocks(ctx); err != nil {
			return err
		}
	}
	if ifAbsent {
		return nil // then nothing is there, or the service refuses
	}
	return b.unlocked(ctx, key)
}

// late returns what it means that the condition of a put does not hold.
func late(ifAbsent bool) connection.Kind {
	if ifAbsent {
		return connection.ErrExists
	}
	return connection.ErrRejected // it had none
}

// refused says what the refusal of a put means: if it was to be the first, a lock or a cold tier only show that it is not.
func refused(err error, ifAbsent bool) error {
	e, ok := err.(*connection.Error) //nolint:errorlint // of fail, which does not wrap
	if ok && ifAbsent && (e.Kind == connection.ErrLocked || e.Kind == connection.ErrArchived) {
		e.Kind = connection.ErrExists
	}
	return err
}

// Put implements objectstore.Backend: Put Blob.
func (b *backend) Put(ctx context.Context, key string, body io.ReadSeeker, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	info := connection.ObjectInfo{Key: key, Size: req.Size, SHA256: req.SHA256}
	s, err := b.settings(req.ContentType, req.Class, req.Wire, req.IfAbsent, req.Lock)
	if err == nil {
		err = b.ready(ctx, key, req.IfAbsent, req.Lock)
	}
	if err != nil {
		return info, err
	}
	l := &lent{r: body}
	resp, err := b.blockBlob(key).Upload(ctx, l, &blockblob.UploadOptions{
		Metadata: metadata(req.Meta, req.SHA256), HTTPHeaders: s.headers, Tier: s.tier, CPKScopeInfo: s.scope, AccessConditions: s.absent,
		LegalHold: s.hold, ImmutabilityPolicyExpiryTime: s.until, ImmutabilityPolicyMode: s.mode,
		TransactionalValidation: blob.TransferValidationTypeMD5(req.Wire),
	})
	if own := l.end(); own != nil {
		return info, own
	}
	if err != nil {
		return info, refused(b.failAt(ctx, err, late(req.IfAbsent)), req.IfAbsent)
	}
	b.sawVersion(resp.VersionID)
	info.ETag, info.Modified, info.Version = etag(resp.ETag), deref(resp.LastModified), deref(resp.VersionID)
	return info, nil
}

// PartLimits implements objectstore.PartPutter.
func (b *backend) PartLimits() objectstore.PartLimits { return limits }

// An upload's name says when it began, since the service does not. All have the same length, as the names of a blob's
// blocks must.
const (
	uploadMark = "mailconn-"
	uploadSize = len(uploadMark) + 10 + 1 + 16
)

func newUpload() string {
	nonce := make([]byte, 8)
	_, _ = rand.Read(nonce) // never fails
	return fmt.Sprintf("%s%010x-%x", uploadMark, time.Now().Unix(), nonce)
}

// Begin implements objectstore.PartPutter: the service knows no uploads, only blocks that belong to no blob yet. What it
// would refuse in the end is refused here, since blocks beside an object that is there cannot be removed.
func (b *backend) Begin(ctx context.Context, key string, req *objectstore.PutRequest) (string, error) {
	if _, err := b.settings(req.ContentType, req.Class, req.Wire, req.IfAbsent, req.Lock); err != nil {
		return "", err
	}
	if req.IfAbsent {
		// Complete decides. But whoever is late for certain need not send everything first.
		switch _, err := b.properties(ctx, key); {
		case err == nil:
			return "", &connection.Error{Kind: connection.ErrExists, Err: errors.New("the key is taken")}
		case !errors.Is(err, connection.ErrNotFound):
			return "", err
		}
	}
	return newUpload(), b.ready(ctx, key, req.IfAbsent, req.Lock)
}

// blockID returns the name of a block.
func blockID(upload string, number int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s-%05d", upload, number))
}

// uploadOf returns the upload that a block belongs to, and when it began; false if it is not of our making.
func uploadOf(id string) (upload string, began time.Time, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) < uploadSize || !strings.HasPrefix(string(raw), uploadMark) {
		return "", time.Time{}, false
	}
	stamp, err := strconv.ParseInt(string(raw[len(uploadMark):len(uploadMark)+10]), 16, 64)
	return string(raw[:uploadSize]), time.Unix(stamp, 0), err == nil
}

// PutPart implements objectstore.PartPutter: Put Block.
func (b *backend) PutPart(ctx context.Context, key, upload string, body io.ReadSeeker, req *objectstore.PartRequest) (string, error) {
	id := blockID(upload, req.Number)
	opts := &blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(req.Wire)}
	if b.cfg.EncryptionScope != "" {
		opts.CPKScopeInfo = &blob.CPKScopeInfo{EncryptionScope: &b.cfg.EncryptionScope}
	}
	l := &lent{r: body}
	_, err := b.blockBlob(key).StageBlock(ctx, id, l, opts)
	if own := l.end(); own != nil {
		return "", own
	}
	err = b.failAt(ctx, err, connection.ErrChanged)
	switch {
	case err == nil:
		b.staged.LoadOrStore(upload, false)
	case !connection.Temporary(err):
		b.staged.Store(upload, true) // or may be yet: the service may still have it before it
	}
	var e *connection.Error
	if errors.As(err, &e) && e.Code == "InvalidBlobOrBlock" {
		e.Hint = "another program has left an upload of this key unfinished, with names of another length; AbortIncomplete removes it"
	}
	return id, err
}

// Complete implements objectstore.PartPutter: Put Block List.
func (b *backend) Complete(ctx context.Context, key, upload string, parts []objectstore.Part, req *objectstore.PutRequest) (connection.ObjectInfo, error) {
	info := connection.ObjectInfo{Key: key, Size: req.Size, SHA256: req.SHA256}
	s, err := b.settings(req.ContentType, req.Class, req.Wire, req.IfAbsent, req.Lock)
	if err == nil {
		err = b.ready(ctx, key, req.IfAbsent, req.Lock)
	}
	if err != nil {
		return info, err
	}
	ids := make([]string, len(parts))
	for i, p := range parts {
		ids[i] = p.Tag
	}
	info, err = b.commit(ctx, info, ids, metadata(req.Meta, req.SHA256), s)
	if err == nil {
		b.staged.Delete(upload)
	}
	return info, err
}

// commit makes an object of blocks.
func (b *backend) commit(ctx context.Context, info connection.ObjectInfo, ids []string, meta map[string]*string, s *settings) (connection.ObjectInfo, error) {
	resp, err := b.blockBlob(info.Key).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
		Metadata: meta, HTTPHeaders: s.headers, Tier: s.tier, CPKScopeInfo: s.scope, AccessConditions: s.absent,
		LegalHold: s.hold, ImmutabilityPolicyExpiryTime: s.until, ImmutabilityPolicyMode: s.mode,
	})
	if err != nil {
		return info, refused(b.failAt(ctx, err, late(s.absent != nil)), s.absent != nil)
	}
	b.sawVersion(resp.VersionID)
	info.ETag, info.Modified, info.Version = etag(resp.ETag), deref(resp.LastModified), deref(resp.VersionID)
	return info, nil
}
