package azureblob

import (
	"context"
	"errors"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/mailconn/mailconn/connection"
)

// Restore implements objectstore.Restorer: Set Blob Tier. The object leaves the archive tier for good, whatever keep says.
func (b *backend) Restore(ctx context.Context, key string, _ time.Duration) error {
	p, err := b.properties(ctx, key)
	if err != nil {
		return err
	}
	// Set Blob Tier would also move what is not archived, between Hot and Cool.
	if restoreState(deref(p.AccessTier), deref(p.ArchiveStatus)) != connection.RestoreNeeded {
		return nil
	}
	tier, priority := blob.AccessTierHot, blob.RehydratePriorityStandard
	if b.cfg.RehydrateTier != "" {
		tier = blob.AccessTier(b.cfg.RehydrateTier)
	}
	if b.cfg.RehydratePriority != "" {
		priority = blob.RehydratePriority(b.cfg.RehydratePriority)
	}
	_, err = b.blob(key).SetTier(ctx, tier, &blob.SetTierOptions{RehydratePriority: &priority})
	err = b.fail(ctx, err, connection.ErrChanged)
	var e *connection.Error
	if errors.As(err, &e) && e.Code == string(bloberror.BlobBeingRehydrated) {
		return nil // somebody else was first
	}
	return err
}
