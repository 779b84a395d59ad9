package s3

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
)

// maxPresign is the longest life of a URL (S3 user guide, "Download and upload objects with presigned URLs").
const maxPresign = 7 * day

// Presign implements objectstore.Presigner. It asks no server: the URL is for the region that is known now.
func (b *backend) Presign(ctx context.Context, method, key string, expires time.Duration) (connection.Secret, error) {
	if expires > maxPresign {
		return connection.Secret{}, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("expires %s: at most %s", expires, maxPresign)}
	}
	p := sdk.NewPresignClient(b.target.Load().client, sdk.WithPresignExpires(expires))
	var request *v4.PresignedHTTPRequest
	var err error
	if method == http.MethodPut {
		request, err = p.PresignPutObject(ctx, &sdk.PutObjectInput{
			Bucket: &b.cfg.Bucket, Key: &key,
			StorageClass: types.StorageClass(b.cfg.StorageClass), ServerSideEncryption: types.ServerSideEncryption(b.cfg.Encryption), SSEKMSKeyId: optional(b.cfg.KMSKey),
		})
	} else {
		request, err = p.PresignGetObject(ctx, &sdk.GetObjectInput{Bucket: &b.cfg.Bucket, Key: &key})
	}
	if err != nil {
		return connection.Secret{}, &connection.Error{Kind: connection.ErrInvalid, Err: err}
	}
	return connection.NewSecret(request.URL), nil
}
