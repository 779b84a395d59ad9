package azureblob

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
	"github.com/mailconn/mailconn/objectstore"
)

// codeAPINotImplemented is Azurite's.
const codeAPINotImplemented bloberror.Code = "APINotImplemented"

// kinds are the service's codes whose status does not say what they mean.
var kinds = map[bloberror.Code]connection.Kind{
	bloberror.AuthenticationFailed:               connection.ErrAuth,
	bloberror.AuthorizationFailure:               connection.ErrAuth,
	bloberror.InvalidAuthenticationInfo:          connection.ErrAuth,
	bloberror.NoAuthenticationInformation:        connection.ErrAuth,
	bloberror.AccountIsDisabled:                  connection.ErrPermission,
	bloberror.AuthorizationPermissionMismatch:    connection.ErrPermission,
	bloberror.AuthorizationProtocolMismatch:      connection.ErrPermission,
	bloberror.AuthorizationResourceTypeMismatch:  connection.ErrPermission,
	bloberror.AuthorizationServiceMismatch:       connection.ErrPermission,
	bloberror.AuthorizationSourceIPMismatch:      connection.ErrPermission,
	bloberror.InsufficientAccountPermissions:     connection.ErrPermission,
	bloberror.UnauthorizedBlobOverwrite:          connection.ErrPermission,
	bloberror.BlobNotFound:                       connection.ErrNotFound,
	bloberror.InvalidBlockList:                   connection.ErrNotFound, // of an upload that is no more
	bloberror.BlobAlreadyExists:                  connection.ErrExists,
	bloberror.ContainerNotFound:                  connection.ErrConfig,
	bloberror.ContainerBeingDeleted:              connection.ErrConfig,
	bloberror.ContainerDisabled:                  connection.ErrConfig,
	bloberror.InvalidResourceName:                connection.ErrConfig,
	bloberror.AccountBeingCreated:                connection.ErrUnavailable,
	bloberror.BlobArchived:                       connection.ErrArchived,
	bloberror.BlobBeingRehydrated:                connection.ErrArchived,
	bloberror.BlobImmutableDueToPolicy:           connection.ErrLocked,
	bloberror.LeaseIDMissing:                     connection.ErrLocked,
	bloberror.ServerBusy:                         connection.ErrThrottled,
	bloberror.SnapshotOperationRateExceeded:      connection.ErrThrottled,
	bloberror.PendingCopyOperation:               connection.ErrUnavailable,
	bloberror.SystemInUse:                        connection.ErrUnavailable,
	bloberror.MD5Mismatch:                        connection.ErrCorrupt,
	bloberror.CRC64Mismatch:                      connection.ErrCorrupt,
	bloberror.InvalidMD5:                         connection.ErrCorrupt,
	bloberror.RequestBodyTooLarge:                connection.ErrTooLarge,
	bloberror.MetadataTooLarge:                   connection.ErrTooLarge,
	bloberror.BlockCountExceedsLimit:             connection.ErrTooLarge,
	bloberror.BlockListTooLong:                   connection.ErrTooLarge,
	bloberror.ContentLengthLargerThanTierLimit:   connection.ErrTooLarge,
	bloberror.BlobTierInadequateForContentLength: connection.ErrTooLarge,
	bloberror.InvalidBlobTier:                    connection.ErrUnsupported,
	bloberror.FeatureVersionMismatch:             connection.ErrUnsupported,
	bloberror.UnsupportedHeader:                  connection.ErrUnsupported,
	bloberror.UnsupportedQueryParameter:          connection.ErrUnsupported,
	bloberror.UnsupportedHTTPVerb:                connection.ErrUnsupported,
	bloberror.ConditionHeadersNotSupported:       connection.ErrUnsupported,
	bloberror.InvalidBlobType:                    connection.ErrRejected,
	codeAPINotImplemented:                        connection.ErrUnsupported,
}

// fail returns the *connection.Error for what the library returned, or the end of ctx itself. unmet is the Kind of a
// condition that the request carried and that did not hold.
func (b *backend) fail(ctx context.Context, err error, unmet connection.Kind) error {
	var (
		ours *connection.Error
		resp *azcore.ResponseError
		dns  *net.DNSError
	)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &ours):
		if b.at.named && errors.As(err, &dns) && dns.IsNotFound {
			again := *ours
			again.Hint = fmt.Sprintf("identity: there seems to be no storage account %q; check its name, and location if it is not in Azure's public cloud", b.cfg.Settings.Identity)
			return &again
		}
		return ours // without what the library and net/http say around it, which quotes the URL
	case errors.As(err, &resp):
		return b.answered(resp, unmet)
	case connection.KindOf(err) == connection.ErrNetwork:
		return &connection.Error{Kind: connection.ErrNetwork, Err: fmt.Errorf("the answer broke off: %w", io.ErrUnexpectedEOF)}
	}
	return &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("the answer makes no sense: %s", httpx.Clean(err.Error()))}
}

// answered classifies an error that the service told, by its code first.
func (b *backend) answered(resp *azcore.ResponseError, unmet connection.Kind) error {
	code := bloberror.Code(resp.ErrorCode)
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable || code == bloberror.InvalidRange {
		return objectstore.ErrRange
	}
	var h http.Header
	if resp.RawResponse != nil {
		h = resp.RawResponse.Header
	}
	e := httpx.StatusError(resp.StatusCode, h, resp.ErrorCode, message(resp.RawResponse))
	switch kind, known := kinds[code]; {
	case code == bloberror.ConditionNotMet, code == bloberror.TargetConditionNotMet,
		code == "" && (resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusPreconditionFailed):
		e.Kind = unmet
	case code == bloberror.SourceConditionNotMet:
		e.Kind = connection.ErrChanged
	case known:
		e.Kind = kind
	case (httpx.Doubtful(resp.StatusCode) || resp.StatusCode/100 == 2) && changes(resp.RawResponse):
		e.Kind = connection.ErrUncertain // of a success that is not the service's own too: a proxy's page, say
	case strings.HasPrefix(resp.ErrorCode, "BlobImmutable"):
		e.Kind = connection.ErrLocked
	case resp.StatusCode == http.StatusConflict:
		e.Kind = connection.ErrRejected // for a reason that is not in the table: not that the key is taken
	}
	e.Hint = b.hint(code, e)
	return e
}

// changes reports whether an answer is to a request that was to change something.
func changes(resp *http.Response) bool {
	return resp != nil && resp.Request != nil && resp.Request.Method != http.MethodGet && resp.Request.Method != http.MethodHead
}

// message returns what an error body says, without the lines that only the service's support understands.
func message(resp *http.Response) string {
	if resp == nil {
		return ""
	}
	body, err := runtime.Payload(resp)
	if err != nil {
		return ""
	}
	var told struct {
		Message string
		Detail  string `xml:"AuthenticationErrorDetail"`
	}
	if xml.Unmarshal(body, &told) != nil {
		return ""
	}
	text, _, _ := strings.Cut(told.Message, "\n")
	// The detail of a wrong signature holds the text that was signed, which is long and of no use.
	if detail := told.Detail; detail != "" && !strings.Contains(detail, "signature") {
		text += " " + detail
	}
	return text
}

// maxSkew is what the service tolerates, less a margin.
const maxSkew = 10 * time.Minute

// hint names the setting at fault.
func (b *backend) hint(code bloberror.Code, e *connection.Error) string {
	switch {
	case e.Kind == connection.ErrAuth:
		if d, known := b.http.Skew(); known && d.Abs() > maxSkew {
			side := "behind"
			if d < 0 {
				side = "ahead of"
			}
			return fmt.Sprintf("this machine's clock is %s %s the server's, and the service permits 15 minutes: set the clock right", d.Abs().Round(time.Second), side)
		}
		if code == bloberror.AuthorizationFailure {
			return fmt.Sprintf("credential: is it a key of the storage account %q? If it is, the account's firewall may keep this machine out", b.cfg.Settings.Identity)
		}
		return fmt.Sprintf("credential: is it a key of the storage account %q, and has it not been renewed? Else check identity", b.cfg.Settings.Identity)
	case code == bloberror.AccountIsDisabled:
		return "identity: the storage account is disabled"
	case e.Kind == connection.ErrPermission:
		return "credential: the account may forbid access by its keys, or access from this machine"
	case code == bloberror.ContainerBeingDeleted:
		return fmt.Sprintf("bucket: the container %q is being deleted", b.cfg.Bucket)
	case e.Kind == connection.ErrConfig:
		return fmt.Sprintf("bucket: there is no container %q in the account %q; create it first, or correct Bucket UID", b.cfg.Bucket, b.cfg.Settings.Identity)
	case code == bloberror.LeaseIDMissing:
		return "another program holds a lease on the object"
	case code == bloberror.InvalidBlobTier:
		return "storage_class: the account has no such tier"
	}
	return ""
}

// bare reports whether err is an answer without a code that says what it is about: a HEAD through a proxy, or a server
// that is none of Azure's.
func bare(err error) bool {
	var e *connection.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "403", "404", string(bloberror.ResourceNotFound):
		return true
	}
	return false
}

// failAt is fail for a request that needs no object to be there: if it says that something is missing, that is the
// container.
func (b *backend) failAt(ctx context.Context, err error, unmet connection.Kind) error {
	err = b.fail(ctx, err, unmet)
	var e *connection.Error
	switch {
	case !errors.As(err, &e) || e.Kind != connection.ErrNotFound || !bare(err):
	case e.Code == string(bloberror.ResourceNotFound): // Azurite, of an account that it does not know
		e.Kind = connection.ErrAuth
		e.Hint = fmt.Sprintf("identity: the server seems to know no storage account %q; check location too", b.cfg.Settings.Identity)
	default:
		e.Kind = connection.ErrConfig
		e.Hint = b.hint("", e) + "; or location is not that of Azure's blob service"
	}
	return err
}

// settle finds out what a bare answer was about: a 404 alone does not say that an object is missing.
func (b *backend) settle(ctx context.Context, err error) error {
	if !bare(err) {
		return err
	}
	if _, listed := b.List(ctx, &objectstore.ListRequest{Limit: 1}); listed != nil {
		return listed
	}
	return err
}
