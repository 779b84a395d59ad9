package s3

import (
	"context"
	"net/http"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mailconn/mailconn/connection"
)

const day = 24 * time.Hour

// Restore implements objectstore.Restorer.
func (b *backend) Restore(ctx context.Context, key string, keep time.Duration) error {
	days := int32(max(1, min((keep+day-1)/day, 36500)))
	tier := types.TierStandard
	if b.cfg.RestoreTier != "" {
		tier = types.Tier(b.cfg.RestoreTier)
	}
	err := b.do(ctx, exchange{}, func(ctx context.Context, c *sdk.Client) error {
		_, err := c.RestoreObject(ctx, &sdk.RestoreObjectInput{
			Bucket: &b.cfg.Bucket, Key: &key,
			RestoreRequest: &types.RestoreRequest{Days: &days, GlacierJobParameters: &types.GlacierJobParameters{Tier: tier}},
		}, withContentMD5)
		return err
	})
	switch {
	case hasCode(err, "RestoreAlreadyInProgress"):
		return nil
	case hasCode(err, "InvalidObjectState"), hasCode(err, "NotImplemented"), hasCode(err, "MethodNotAllowed"):
		return b.readable(ctx, key, err)
	}
	return b.missing(ctx, err)
}

// readable returns nil if the object needs no restore, which S3 and servers without cold classes both refuse; else why.
func (b *backend) readable(ctx context.Context, key string, why error) error {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return err
	}
	if info.Restore == connection.RestoreNeeded {
		return why
	}
	return nil
}

// restoreState reads the header x-amz-restore: ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT".
func restoreState(class types.StorageClass, header string) (connection.RestoreState, time.Time) {
	if header == "" {
		if class == types.StorageClassGlacier || class == types.StorageClassDeepArchive {
			return connection.RestoreNeeded, time.Time{}
		}
		return connection.RestoreNone, time.Time{}
	}
	if strings.Contains(header, `ongoing-request="true"`) {
		return connection.RestorePending, time.Time{}
	}
	_, after, _ := strings.Cut(header, `expiry-date="`)
	date, _, _ := strings.Cut(after, `"`)
	until, err := http.ParseTime(date)
	if err != nil {
		return connection.RestoreDone, time.Time{}
	}
	if until.Before(time.Now()) {
		return connection.RestoreNeeded, time.Time{}
	}
	return connection.RestoreDone, until
}
