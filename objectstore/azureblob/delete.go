package azureblob

import (
	"context"
	"errors"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/mailconn/mailconn/connection"
)

// Delete implements objectstore.Backend: Delete Blob, with the snapshots, without which the service does not delete.
// Where the account keeps old versions or deleted blobs, a marker is told of.
func (b *backend) Delete(ctx context.Context, key string) error {
	if err := b.unlocked(ctx, key); err != nil {
		return err
	}
	if b.versions.Load() == unknown {
		// An answer about a blob tells whether there are versions, but that to a deletion does not.
		switch _, err := b.properties(ctx, key); {
		case errors.Is(err, connection.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
	}
	var raw *http.Response
	snapshots := blob.DeleteSnapshotsOptionTypeInclude
	_, err := b.blob(key).Delete(policy.WithCaptureResponse(ctx, &raw), &blob.DeleteOptions{DeleteSnapshots: &snapshots})
	if err != nil {
		err = b.settle(ctx, b.fail(ctx, err, connection.ErrChanged))
		if errors.Is(err, connection.ErrNotFound) {
			return nil
		}
		return err
	}
	if b.versions.Load() == keeps || raw != nil && raw.Header.Get("x-ms-delete-type-permanent") == "false" {
		b.env.Emit(connection.Event{Kind: connection.EventMarker, Connection: b.eventID(), Key: key, Detail: "the account keeps earlier versions or what was deleted"})
	}
	return nil
}
