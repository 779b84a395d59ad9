package b2

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

// The operations of the native API, version 3.
const (
	opAuthorize    = "b2_authorize_account"
	opBuckets      = "b2_list_buckets"
	opUploadURL    = "b2_get_upload_url"
	opUpload       = "b2_upload_file"
	opPartURL      = "b2_get_upload_part_url"
	opUploadPart   = "b2_upload_part"
	opStart        = "b2_start_large_file"
	opFinish       = "b2_finish_large_file"
	opCancel       = "b2_cancel_large_file"
	opUnfinished   = "b2_list_unfinished_large_files"
	opNames        = "b2_list_file_names"
	opVersions     = "b2_list_file_versions"
	opDelete       = "b2_delete_file_version"
	opHide         = "b2_hide_file"
	opCopy         = "b2_copy_file"
	opDownload     = "b2_download_file_by_name"
	opDownloadAuth = "b2_get_download_authorization"
	opRetention    = "b2_update_file_retention"
	opLegalHold    = "b2_update_file_legal_hold"
)

// reads reports whether an operation changes nothing, so that a lost answer leaves no doubt.
func reads(op string) bool {
	switch op {
	case opAuthorize, opBuckets, opUploadURL, opPartURL, opUnfinished, opNames, opVersions, opDownload, opDownloadAuth:
		return true
	}
	return false
}

// decides reports whether an operation makes a file visible.
func decides(op string) bool { return op == opUpload || op == opFinish || op == opCopy }

// run makes one call by package base, and returns the true cause if it fails.
func (b *backend) run(ctx context.Context, op string, x *exchange, call func(ctx context.Context) error) error {
	return b.explain(op, x, call(context.WithValue(ctx, exchangeKey{}, x)))
}

// api makes one call that package base does not have, or of whose answer it drops what we need.
func (b *backend) api(ctx context.Context, s *session, op string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	x := new(exchange)
	req, err := http.NewRequestWithContext(context.WithValue(ctx, exchangeKey{}, x), http.MethodPost, s.account.APIInfo.Storage.API+"/b2api/v3/"+op, bytes.NewReader(raw))
	if err != nil {
		return unreadable(errors.New("apiUrl is no URL"))
	}
	req.Header.Set("Authorization", s.account.Token)
	req.Header.Set(methodHeader, op)
	resp, err := b.fence.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close() // read already
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		} else if out != nil {
			err = json.Unmarshal(x.reply, out)
		}
	}
	return b.explain(op, x, err)
}

// explain makes the error of a call. err is base's, which says little.
func (b *backend) explain(op string, x *exchange, err error) error {
	switch {
	case err == nil:
		return nil
	case x.err != nil:
		err = x.err
	case x.status == 0:
		return unreadable(err) // no request could be made of what the server said before
	case x.status != http.StatusOK && x.status != http.StatusPartialContent:
		return b.refusal(op, x)
	case reads(op):
		return unreadable(err)
	default:
		return &connection.Error{Kind: connection.ErrUncertain, Err: unreadable(err)}
	}
	if decides(op) && x.status == http.StatusOK && connection.KindOf(err) == connection.ErrProtocol {
		return &connection.Error{Kind: connection.ErrUncertain, Err: err} // a success, of which only the answer makes no sense
	}
	if reads(op) && connection.KindOf(err) == connection.ErrUncertain {
		return &connection.Error{Kind: connection.ErrNetwork, Err: err}
	}
	return err
}

// The server's codes that mean more than their HTTP status.
const (
	codeExpired   = "expired_auth_token"
	codeBadToken  = "bad_auth_token"
	codeBadBucket = "bad_bucket_id"
)

// refusal turns an answer into an error: by its code, then by its status.
func (b *backend) refusal(op string, x *exchange) error {
	var said struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(x.reply, &said) != nil {
		said.Code, said.Message = "", "" // no B2 speaks: a proxy, say
	}
	e := httpx.StatusError(x.status, x.answer, said.Code, said.Message)
	switch {
	case op == opAuthorize && x.status == http.StatusUnauthorized:
		e.Hint = "identity or credential: B2 does not know this pair; identity is the key's ID, not its name"
		return e
	case (op == opUpload || op == opUploadPart) && staleURL(x.status, said.Code, said.Message):
		e.Kind = connection.ErrUnavailable // another upload URL helps
	case said.Code == codeExpired, said.Code == codeBadToken:
		e.Kind = connection.ErrAuth
	case x.status == http.StatusUnauthorized && said.Code != "":
		e.Kind = connection.ErrPermission
		e.Hint = "credential: the application key may not call " + op + " on this bucket; make one that may"
	case strings.HasSuffix(said.Code, "cap_exceeded"):
		e.Kind = connection.ErrQuota
		e.Hint = "a cap of the account is reached: raise it on Backblaze's page Caps & Alerts"
	case said.Code == codeBadBucket:
		e = b.noBucket()
	case said.Code == "not_found", said.Code == "no_such_file", said.Code == "file_not_present":
		e.Kind = connection.ErrNotFound
	case !reads(op) && op != opStart && httpx.Doubtful(x.status): // 503 is the service's own word for a busy upload URL: nothing was done
		e.Kind = connection.ErrUncertain
	case x.status == http.StatusServiceUnavailable:
		e.Kind = connection.ErrThrottled
	case x.status == http.StatusBadRequest:
		e.Kind = badRequest(op, said.Message)
	}
	return e
}

// badRequest tells apart what the server has one code for.
func badRequest(op, message string) connection.Kind {
	message = strings.ToLower(message)
	switch {
	case strings.HasPrefix(message, "checksum did not match"), strings.HasPrefix(message, "sha1 did not match"):
		return connection.ErrCorrupt
	case op == opFinish && strings.HasPrefix(message, "no active upload"):
		return connection.ErrNotFound // by an earlier attempt, perhaps
	case strings.Contains(message, "file name"):
		return connection.ErrUnsupported
	}
	return connection.ErrRejected
}

// staleURL reports whether an upload URL has had its day.
func staleURL(status int, code, message string) bool {
	return code == codeExpired || code == codeBadToken || status == http.StatusUnauthorized && code == "" ||
		status == http.StatusBadRequest && strings.HasPrefix(message, "more than one upload using auth token")
}

// expired reports whether a new account token would help. HEAD tells no code.
func expired(err error) bool {
	var e *connection.Error
	return errors.As(err, &e) && e.Kind == connection.ErrAuth && (e.Code == codeExpired || e.Code == codeBadToken || e.Code == strconv.Itoa(http.StatusUnauthorized))
}

// A loan is a body that is the transport's until end: the transport may go on reading when it has an answer already.
type loan struct {
	mu sync.Mutex
	r  io.Reader // nil: taken back
}

var errTakenBack = errors.New("the request has ended")

func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r == nil {
		return 0, errTakenBack
	}
	return l.r.Read(p)
}

func (l *loan) end() {
	l.mu.Lock()
	l.r = nil
	l.mu.Unlock()
}
