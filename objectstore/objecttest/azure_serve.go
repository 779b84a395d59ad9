package objecttest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An azureError is an answer of the kind that the service's documentation lists as error codes.
type azureError struct {
	status       int
	code         string
	text, detail string
}

var (
	azureAuthenticationFailed = &azureError{403, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.", "The MAC signature found in the HTTP request is not the same as any computed signature."}
	azureOldDate              = &azureError{403, "AuthenticationFailed", "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.", "Request date header too old"}
	azureBadAuthentication    = &azureError{400, "InvalidAuthenticationInfo", "Authentication information is not given in the correct format. Check the value of Authorization header.", ""}
	azureNoAuthentication     = &azureError{401, "NoAuthenticationInformation", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.", ""}
	azurePermissionMismatch   = &azureError{403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.", ""}
	azureProtocolMismatch     = &azureError{403, "AuthorizationProtocolMismatch", "This request is not authorized to perform this operation using this protocol.", ""}
	azureNoContainer          = &azureError{404, "ContainerNotFound", "The specified container does not exist.", ""}
	azureNoBlob               = &azureError{404, "BlobNotFound", "The specified blob does not exist.", ""}
	azureUnmet                = &azureError{412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.", ""}
	azureSourceUnmet          = &azureError{412, "SourceConditionNotMet", "The source condition specified using HTTP conditional header(s) is not met.", ""}
	azureTaken                = &azureError{409, "BlobAlreadyExists", "The specified blob already exists.", ""}
	azureArchived             = &azureError{409, "BlobArchived", "This operation is not permitted on an archived blob.", ""}
	azureRehydrating          = &azureError{409, "BlobBeingRehydrated", "This operation is not permitted because the blob is being rehydrated.", ""}
	azureImmutable            = &azureError{409, "BlobImmutableDueToPolicy", "This operation is not permitted as the blob is immutable due to a policy.", ""}
	azureCopying              = &azureError{409, "PendingCopyOperation", "There is currently a pending copy operation.", ""}
	azureNotCopying           = &azureError{409, "NoPendingCopyOperation", "There is currently no pending copy operation.", ""}
	azureNoSource             = &azureError{404, "CannotVerifyCopySource", "The specified blob does not exist.", ""}
	azureRange                = &azureError{416, "InvalidRange", "The range specified is invalid for the current size of the resource.", ""}
	azureMD5                  = &azureError{400, "Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.", ""}
	azureBlockList            = &azureError{400, "InvalidBlockList", "The specified block list is invalid.", ""}
	azureBlockContent         = &azureError{400, "InvalidBlobOrBlock", "The specified blob or block content is invalid.", ""}
	azureBlockID              = &azureError{400, "InvalidQueryParameterValue", "Value for one of the query parameters specified in the request URI is invalid.", ""}
	azureTier                 = &azureError{400, "InvalidBlobTier", "The specified blob tier is invalid.", ""}
	azureHeader               = &azureError{400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.", ""}
	azureMetadata             = &azureError{400, "InvalidMetadata", "The specified metadata is invalid. It has characters that are not permitted.", ""}
	azureMetadataTooLarge     = &azureError{400, "MetadataTooLarge", "The metadata specified exceeds the maximum permissible limit (8KB).", ""}
	azureLength               = &azureError{411, "MissingContentLengthHeader", "The Content-Length header was not specified.", ""}
	azureTooLarge             = &azureError{413, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit.", ""}
	azureNoLocks              = &azureError{409, "FeatureNotEnabled", "Version-level immutability is not enabled for this container.", ""}
	azureShorter              = &azureError{409, "ImmutabilityPolicyLocked", "A locked policy can only be prolonged.", ""}
	azureVerb                 = &azureError{405, "UnsupportedHttpVerb", "The resource doesn't support the specified HTTP verb.", ""}
	azureBroken               = &azureError{400, "InvalidInput", "One of the request inputs is not valid.", ""}
)

// azureOps are the operations with what they take: query parameters, and headers that begin with x-ms- besides those of
// every request. "x-ms-meta-" stands for all of metadata.
var azureOps = map[string]struct{ query, headers string }{
	"GetContainerProperties":    {"restype", ""},
	"ListBlobs":                 {"restype comp prefix delimiter marker maxresults include", ""},
	"GetBlob":                   {"", "range"},
	"GetBlobProperties":         {"", ""},
	"DeleteBlob":                {"", "delete-snapshots"},
	"PutBlob":                   {"", "blob-type access-tier meta- blob-content-type blob-content-md5 encryption-scope legal-hold immutability-policy-mode immutability-policy-until-date"},
	"PutBlock":                  {"comp blockid", "encryption-scope"},
	"PutBlockFromURL":           {"comp blockid", "copy-source source-range source-if-match encryption-scope"},
	"PutBlockList":              {"comp", "access-tier meta- blob-content-type blob-content-md5 blob-content-encoding blob-content-language blob-content-disposition blob-cache-control encryption-scope legal-hold immutability-policy-mode immutability-policy-until-date"},
	"GetBlockList":              {"comp blocklisttype", ""},
	"CopyBlob":                  {"", "copy-source source-if-match access-tier meta- legal-hold immutability-policy-mode immutability-policy-until-date"},
	"AbortCopyBlob":             {"comp copyid", "copy-action"},
	"SetBlobTier":               {"comp", "access-tier rehydrate-priority"},
	"SetBlobImmutabilityPolicy": {"comp", "immutability-policy-mode immutability-policy-until-date"},
	"SetBlobLegalHold":          {"comp", "legal-hold"},
}

// operations implements provider.
func (a *Azure) operations() []string {
	ops := make([]string, 0, len(azureOps))
	for op := range azureOps {
		ops = append(ops, op)
	}
	slices.Sort(ops)
	return ops
}

// split takes an escaped path apart. The container is "" if the path is not below the account.
func (a *Azure) split(path string) (container, key string) {
	rest, ok := strings.CutPrefix(path, "/"+a.opts.Account+"/")
	if !ok {
		return "", ""
	}
	container, key, _ = strings.Cut(rest, "/")
	if plain, err := url.PathUnescape(key); err == nil {
		key = plain
	}
	return container, key
}

// operation implements provider.
func (a *Azure) operation(r *http.Request) string {
	q := r.URL.Query()
	container, key := a.split(r.URL.EscapedPath())
	what := r.Method + " " + q.Get("comp")
	switch {
	case container == "":
		return ""
	case key == "":
		return map[string]string{"GET list": "ListBlobs", "GET ": "GetContainerProperties", "HEAD ": "GetContainerProperties"}[what]
	case what == "PUT block" && r.Header.Get("X-Ms-Copy-Source") != "":
		return "PutBlockFromURL"
	case what == "PUT " && r.Header.Get("X-Ms-Copy-Source") != "":
		return "CopyBlob"
	}
	return map[string]string{
		"GET ": "GetBlob", "HEAD ": "GetBlobProperties", "DELETE ": "DeleteBlob", "PUT ": "PutBlob", "PUT block": "PutBlock",
		"PUT blocklist": "PutBlockList", "GET blocklist": "GetBlockList", "PUT copy": "AbortCopyBlob", "PUT tier": "SetBlobTier",
		"PUT immutabilityPolicies": "SetBlobImmutabilityPolicy", "PUT legalhold": "SetBlobLegalHold",
	}[what]
}

// serve implements provider.
func (a *Azure) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Ms-Request-Id", "8d2f1c5e-101e-0041-0000-000000000000")
	w.Header().Set("X-Ms-Version", r.Header.Get("X-Ms-Version"))
	if e := a.obey(w, r); e != nil {
		a.refuse(w, r, e)
	}
}

func (a *Azure) obey(w http.ResponseWriter, r *http.Request) *azureError {
	op := a.operation(r)
	if e := a.authenticate(r, op); e != nil {
		return e
	}
	if e := azureKnows(op, r); e != nil {
		return e
	}
	container, key := a.split(r.URL.EscapedPath())
	if container != a.opts.Container {
		return azureNoContainer
	}
	if len(key) > 1024 {
		return &azureError{400, "OutOfRangeInput", "One of the request inputs is out of range.", ""}
	}
	switch op {
	case "GetContainerProperties":
		a.containerProperties(w)
		return nil
	case "ListBlobs":
		return a.listBlobs(w, r)
	case "GetBlob", "GetBlobProperties":
		return a.getBlob(w, r, key)
	case "DeleteBlob":
		return a.deleteBlob(w, r, key)
	case "PutBlob":
		return a.putBlob(w, r, key)
	case "PutBlock", "PutBlockFromURL":
		return a.putBlock(w, r, key)
	case "PutBlockList":
		return a.putBlockList(w, r, key)
	case "GetBlockList":
		return a.getBlockList(w, r, key)
	case "CopyBlob":
		return a.copyBlob(w, r, key)
	case "AbortCopyBlob":
		return a.abortCopy(w, r, key)
	case "SetBlobTier":
		return a.setTier(w, r, key)
	case "SetBlobImmutabilityPolicy":
		return a.setPolicy(w, r, key)
	case "SetBlobLegalHold":
		return a.setHold(w, r, key)
	}
	return azureVerb
}

// azureKnows refuses parameters and headers that the operation does not take.
func azureKnows(op string, r *http.Request) *azureError {
	known := azureOps[op]
	q := r.URL.Query()
	signed := "sp st se si sip spr sv sr sig ses"
	for name := range q {
		if !slices.Contains(strings.Fields(known.query), name) && !(q.Has("sig") && slices.Contains(strings.Fields(signed), name)) {
			return &azureError{400, "UnsupportedQueryParameter", "One of the query parameters specified in the request URI is not supported: " + name, ""}
		}
	}
	for name := range r.Header {
		short, ok := strings.CutPrefix(strings.ToLower(name), "x-ms-")
		if !ok || slices.Contains([]string{"date", "version", "client-request-id", "return-client-request-id"}, short) {
			continue
		}
		if strings.HasPrefix(short, "meta-") {
			short = "meta-"
		}
		if !slices.Contains(strings.Fields(known.headers), short) {
			return &azureError{400, "UnsupportedHeader", "One of the HTTP headers specified in the request is not supported: " + name, ""}
		}
	}
	return nil
}

// refuse answers with an error.
func (a *Azure) refuse(w http.ResponseWriter, r *http.Request, e *azureError) {
	if a.opts.NoCodes {
		http.Error(w, http.StatusText(e.status), e.status)
		return
	}
	body, _ := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
		Detail  string `xml:"AuthenticationErrorDetail,omitempty"`
	}{Code: e.code, Message: fmt.Sprintf("%s\nRequestId:8d2f1c5e-101e-0041-0000-000000000000\nTime:%s", e.text, a.Now().UTC().Format(time.RFC3339Nano)), Detail: e.detail}) // texts only
	w.Header().Set("X-Ms-Error-Code", e.code)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append([]byte(xml.Header), body...)) // the client has gone
	}
}

// azureConditions checks the headers of RFC 9110, 13.1, for what is there; b is nil if nothing is.
func azureConditions(h http.Header, b *azureBlob) *azureError {
	if want := h.Get("If-Match"); want != "" && (b == nil || want != "*" && want != `"`+b.etag+`"`) {
		return azureUnmet
	}
	if since, err := http.ParseTime(h.Get("If-Unmodified-Since")); err == nil && b != nil && b.modified.After(since) {
		return azureUnmet
	}
	if not := h.Get("If-None-Match"); not != "" && b != nil {
		if not == "*" {
			return azureTaken
		}
		if not == `"`+b.etag+`"` {
			return azureUnmet
		}
	}
	return nil
}

// writable checks that what is there may be overwritten; b is nil if nothing is.
func (a *Azure) writable(h http.Header, b *azureBlob) *azureError {
	switch {
	case b == nil:
	case a.opts.Policy:
		return azureImmutable // which the service finds before the condition
	case b.tier == "Archive":
		return azureArchived
	case b.copy != nil && b.copy.status == "pending":
		return azureCopying
	}
	if a.opts.Unconditional {
		h = h.Clone()
		h.Del("If-None-Match")
	}
	return azureConditions(h, b)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// azureBody reads the body of a request and checks its digest.
func azureBody(r *http.Request, limit int64) (blob, []byte, *azureError) {
	if r.ContentLength < 0 {
		return blob{}, nil, azureLength
	}
	if r.ContentLength > limit {
		return blob{}, nil, azureTooLarge
	}
	sum := newMD5()
	data, err := readBlob(r.Body, sum)
	if err != nil || data.size != r.ContentLength {
		return blob{}, nil, azureBroken
	}
	if given := r.Header.Get("Content-Md5"); given != "" && given != azureDigest(sum.Sum(nil)) {
		return blob{}, nil, azureMD5
	}
	return data, sum.Sum(nil), nil
}

// azureDiscard reads what is left of a body that nobody wants.
func azureDiscard(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) } // the client has gone
