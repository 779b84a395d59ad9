package s3

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

// kinds of the codes that S3 and its kin answer with (S3 API reference, "List of error codes"). A code tells more than a
// status: some servers say 404 to an access key that they do not know.
var kinds = map[string]connection.Kind{
	"AccountProblem":        connection.ErrAuth,
	"AuthFailure":           connection.ErrAuth,
	"ExpiredToken":          connection.ErrAuth,
	"InvalidAccessKeyId":    connection.ErrAuth,
	"InvalidSecurity":       connection.ErrAuth,
	"InvalidToken":          connection.ErrAuth,
	"NotSignedUp":           connection.ErrAuth,
	"RequestExpired":        connection.ErrAuth,
	"RequestTimeTooSkewed":  connection.ErrAuth,
	"SignatureDoesNotMatch": connection.ErrAuth,
	"TokenRefreshRequired":  connection.ErrAuth,

	"AccessDenied":      connection.ErrPermission,
	"AllAccessDisabled": connection.ErrPermission,

	"NoSuchKey":     connection.ErrNotFound,
	"NoSuchUpload":  connection.ErrNotFound,
	"NoSuchVersion": connection.ErrNotFound,

	"NoSuchBucket":      connection.ErrConfig,
	"InvalidBucketName": connection.ErrConfig,

	"AuthorizationHeaderMalformed":       connection.ErrConfig,
	"IllegalLocationConstraintException": connection.ErrConfig,
	"PermanentRedirect":                  connection.ErrConfig,
	"TemporaryRedirect":                  connection.ErrConfig,
	"KMS.DisabledException":              connection.ErrConfig,
	"KMS.NotFoundException":              connection.ErrConfig,
	"KMS.KMSInvalidStateException":       connection.ErrConfig,

	"InvalidObjectState": connection.ErrArchived,

	"BandwidthLimitExceeded": connection.ErrThrottled,
	"RequestLimitExceeded":   connection.ErrThrottled,
	"SlowDown":               connection.ErrThrottled,
	"SlowDownRead":           connection.ErrThrottled,
	"SlowDownWrite":          connection.ErrThrottled,
	"Throttling":             connection.ErrThrottled,
	"ThrottlingException":    connection.ErrThrottled,
	"TooManyRequests":        connection.ErrThrottled,

	"InternalError":              connection.ErrUnavailable,
	"ServiceUnavailable":         connection.ErrUnavailable,
	"ConditionalRequestConflict": connection.ErrUnavailable, // another writer is at it: the next try knows who won
	"OperationAborted":           connection.ErrUnavailable,

	"RequestTimeout": connection.ErrTimeout,
	"IncompleteBody": connection.ErrNetwork,

	"QuotaExceeded":                        connection.ErrQuota,
	"XMinioAdminBucketQuotaExceeded":       connection.ErrQuota,
	"XMinioStorageFull":                    connection.ErrQuota,
	"EntityTooLarge":                       connection.ErrTooLarge,
	"KeyTooLongError":                      connection.ErrTooLarge,
	"MaxMessageLengthExceeded":             connection.ErrTooLarge,
	"MetadataTooLarge":                     connection.ErrTooLarge,
	"BadDigest":                            connection.ErrCorrupt,
	"InvalidDigest":                        connection.ErrCorrupt,
	"InvalidPart":                          connection.ErrCorrupt,
	"XAmzContentChecksumMismatch":          connection.ErrCorrupt,
	"XAmzContentSHA256Mismatch":            connection.ErrCorrupt,
	"InvalidArgument":                      connection.ErrInvalid,
	"InvalidRetentionPeriod":               connection.ErrInvalid,
	"InvalidEncryptionAlgorithmError":      connection.ErrUnsupported,
	"InvalidStorageClass":                  connection.ErrUnsupported,
	"KMSNotConfigured":                     connection.ErrUnsupported,
	"MethodNotAllowed":                     connection.ErrUnsupported,
	"NotImplemented":                       connection.ErrUnsupported,
	"ObjectLockConfigurationNotFoundError": connection.ErrUnsupported,
	"NoSuchObjectLockConfiguration":        connection.ErrUnsupported,
	"XMinioInvalidObjectName":              connection.ErrUnsupported,
	"XMinioInvalidResourceName":            connection.ErrUnsupported,
	"XMinioObjectExistsAsDirectory":        connection.ErrUnsupported,
	"XMinioParentIsObject":                 connection.ErrUnsupported,
}

// region returns the region that the answer names, "" if none.
func (a *answer) region() string {
	region := cmp.Or(a.header.Get("X-Amz-Bucket-Region"), a.Region)
	if region == "" && a.Code == "AuthorizationHeaderMalformed" {
		// Ceph and MinIO say it in words: "… expecting 'eu-central-1'."
		_, after, _ := strings.Cut(a.Message, "expecting '")
		region, _, _ = strings.Cut(after, "'")
	}
	if !regionName.MatchString(region) {
		return ""
	}
	return region
}

// misdirected reports whether the answer is about the region: S3 says so by status or code, and to HEAD only in a header.
func (a *answer) misdirected() bool {
	switch a.Code {
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
		return true
	case "":
		return a.status == http.StatusMovedPermanently || a.status == http.StatusBadRequest
	}
	return false
}

// error classifies the answer to a request of the method given.
func (a *answer) error(method string, raw []byte) *connection.Error {
	text := a.Message
	if a.Code == "" {
		text = plain(raw)
	}
	e := httpx.StatusError(a.status, a.header, a.Code, text)
	kind, known := kinds[a.Code]
	write := method != http.MethodGet && method != http.MethodHead
	switch {
	case known:
		e.Kind = kind
	case a.status == http.StatusOK:
		e.Kind = connection.ErrUnavailable // an error that became known too late, and has no name here
	case write && a.Code == "" && httpx.Doubtful(a.status):
		e.Kind = connection.ErrUncertain // of a proxy: nobody knows what the server behind it has done
	case a.status == http.StatusServiceUnavailable:
		e.Kind = connection.ErrThrottled
	case a.status == http.StatusRequestedRangeNotSatisfiable:
		e.Err = fmt.Errorf("%w: %w", objectstore.ErrRange, e.Err)
	case a.status/100 == 3:
		e.Kind = connection.ErrConfig
	}
	if a.status == http.StatusPreconditionFailed && write {
		e.Kind = connection.ErrExists // the only condition that we set on a write is that the key is free
	}
	return e
}

// told returns err as what the server or the transport told, nil if it is nothing of that kind. once returns it unwrapped.
func told(err error) *connection.Error {
	e, _ := err.(*connection.Error) //nolint:errorlint // never wrapped
	return e
}

// hasCode reports whether err is an answer with this code.
func hasCode(err error, code string) bool {
	e := told(err)
	return e != nil && e.Code == code
}

// plain returns what an error body that is no S3 error says, unless it is a page for browsers.
func plain(raw []byte) string {
	if strings.HasPrefix(strings.TrimSpace(string(raw)), "<") {
		return ""
	}
	return string(raw)
}

// hint says which setting is at fault.
func (b *backend) hint(t *target, a *answer, err error) error {
	e := told(err)
	if e == nil || a == nil || e.Hint != "" {
		return err
	}
	switch {
	case a.Code == "RequestTimeTooSkewed":
		e.Hint = "this machine's clock and the server's differ too much: set this machine's clock"
		if skew, known := b.http.Skew(); known {
			e.Hint = fmt.Sprintf("the server's clock is %s from this machine's (%s): set this machine's clock", describe(skew), time.Now().UTC().Format(time.RFC3339))
		}
	case a.Code == "InvalidAccessKeyId":
		e.Hint = "identity: the server does not know this access key"
	case a.Code == "SignatureDoesNotMatch":
		e.Hint = "credential: it is not the secret key that belongs to identity; a proxy that changes requests has the same effect"
	case a.Code == "ExpiredToken", a.Code == "InvalidToken", a.Code == "TokenRefreshRequired":
		e.Hint = "session_token: it has expired, or does not belong to identity"
	case e.Kind == connection.ErrAuth:
		e.Hint = "identity and credential: the server does not accept them"
	case a.Code == "NoSuchBucket":
		e.Hint = fmt.Sprintf("bucket: %q does not exist at %s: correct Bucket UID or Location, or create it; it is never created by itself", t.bucket, t.host)
	case a.Code == "InvalidBucketName":
		e.Hint = fmt.Sprintf("bucket: the server takes %q for no name of a bucket", t.bucket)
	case strings.HasPrefix(a.Code, "KMS"):
		e.Hint = "encryption and kms_key: the server has no such key, or no keys at all"
	case a.Code == "InvalidEncryptionAlgorithmError":
		e.Hint = "encryption: the server cannot"
	case a.Code == "InvalidStorageClass":
		e.Hint = "storage_class: the server does not know it"
	case a.misdirected() || a.status/100 == 3:
		where := cmp.Or(a.region(), httpx.Clean(a.Endpoint), "elsewhere")
		e.Hint = fmt.Sprintf("location and region: the bucket is not in %s: the server says %s", t.region, where)
	case e.Kind == connection.ErrPermission:
		e.Hint = "identity: this access key lacks a permission for the bucket"
	}
	return e
}

// describe says a difference of clocks.
func describe(skew time.Duration) string {
	if skew < 0 {
		return (-skew).Round(time.Second).String() + " behind"
	}
	return skew.Round(time.Second).String() + " ahead"
}
