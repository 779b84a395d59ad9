package azureblob

import (
	"context"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/mailconn/mailconn/connection"
)

// Presign implements objectstore.Presigner: a shared access signature for one blob. Who puts by it has to send the header
// x-ms-blob-type: BlockBlob.
func (b *backend) Presign(_ context.Context, method, key string, expires time.Duration) (connection.Secret, error) {
	may := sas.BlobPermissions{Read: true}
	if method == http.MethodPut {
		may = sas.BlobPermissions{Create: true, Write: true}
	}
	url, err := b.signed(key, may, expires)
	return connection.NewSecret(url), err
}

// signed returns the URL of a blob with a signature that permits what is given.
func (b *backend) signed(key string, may sas.BlobPermissions, expires time.Duration) (string, error) {
	values := sas.BlobSignatureValues{
		Version: apiVersion, ContainerName: b.cfg.Bucket, BlobName: key, Permissions: may.String(), ExpiryTime: wholeSeconds(b.now().Add(expires)).UTC(),
	}
	if b.at.base.Scheme == "https" {
		values.Protocol = sas.ProtocolHTTPS
	}
	query, err := values.SignWithSharedKey(b.cred)
	if err != nil {
		return "", &connection.Error{Kind: connection.ErrInvalid, Err: err}
	}
	return b.blob(key).URL() + "?" + query.Encode(), nil
}
