package objecttest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The example of Microsoft's page "Authorize with Shared Key", of the operation Get Container Metadata.
func TestAzureStringToSign(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata&timeout=20", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Ms-Version", "2015-02-21")
	r.Header.Set("X-Ms-Date", "Fri, 26 Jun 2015 23:39:12 GMT")
	want := "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
	if got := azureStringToSign(r, "myaccount", strings.Compare); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// What the fake must refuse, so that a driver's mistake shows.
func TestAzureRefuses(t *testing.T) {
	srv := NewAzure(t, nil)
	send := func(t *testing.T, method, path, body string, sign bool, headers ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, srv.Location()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Ms-Version", "2021-12-02")
		r.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		if sign {
			mac := hmac.New(sha256.New, srv.key)
			_, _ = mac.Write([]byte(azureStringToSign(r, "devstoreaccount1", strings.Compare))) // a hash never fails
			r.Header.Set("Authorization", "SharedKey devstoreaccount1:"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil || resp.Body.Close() != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("X-Ms-Error-Code")
	}
	const blob = "x-ms-blob-type"
	for name, tc := range map[string]struct {
		method, path, body string
		unsigned           bool
		headers            []string
		status             int
		code               string
	}{
		"nothing":            {http.MethodPut, "/mail/key", "text", false, []string{blob, "BlockBlob"}, 201, ""},
		"no signature":       {http.MethodGet, "/mail/key", "", true, nil, 401, "NoAuthenticationInformation"},
		"another signature":  {http.MethodGet, "/mail/key", "", true, []string{"Authorization", "SharedKey devstoreaccount1:d3Jvbmc="}, 403, "AuthenticationFailed"},
		"another account":    {http.MethodGet, "/mail/key", "", true, []string{"Authorization", "SharedKey other:d3Jvbmc="}, 403, "AuthenticationFailed"},
		"an old date":        {http.MethodGet, "/mail/key", "", false, []string{"X-Ms-Date", "Fri, 26 Jun 2015 23:39:12 GMT"}, 403, "AuthenticationFailed"},
		"no date":            {http.MethodGet, "/mail/key", "", false, []string{"X-Ms-Date", "yesterday"}, 400, "InvalidAuthenticationInfo"},
		"unknown parameter":  {http.MethodGet, "/mail/key?magic=1", "", false, nil, 400, "UnsupportedQueryParameter"},
		"unknown header":     {http.MethodPut, "/mail/key", "", false, []string{blob, "BlockBlob", "x-ms-magic", "1"}, 400, "UnsupportedHeader"},
		"no blob type":       {http.MethodPut, "/mail/key", "text", false, nil, 400, "InvalidHeaderValue"},
		"another digest":     {http.MethodPut, "/mail/key", "text", false, []string{blob, "BlockBlob", "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="}, 400, "Md5Mismatch"},
		"unknown tier":       {http.MethodPut, "/mail/key", "text", false, []string{blob, "BlockBlob", "x-ms-access-tier", "GLACIER"}, 400, "InvalidBlobTier"},
		"metadata name":      {http.MethodPut, "/mail/key", "text", false, []string{blob, "BlockBlob", "x-ms-meta-a-b", "1"}, 400, "InvalidMetadata"},
		"too much metadata":  {http.MethodPut, "/mail/key", "text", false, []string{blob, "BlockBlob", "x-ms-meta-a", strings.Repeat("x", 9000)}, 400, "MetadataTooLarge"},
		"another container":  {http.MethodGet, "/other/key", "", false, nil, 404, "ContainerNotFound"},
		"name of a block":    {http.MethodPut, "/mail/key?comp=block&blockid=%21", "text", false, nil, 400, "InvalidQueryParameterValue"},
		"range past the end": {http.MethodGet, "/mail/there", "", false, []string{"x-ms-range", "bytes=4-"}, 416, "InvalidRange"},
		"condition":          {http.MethodGet, "/mail/there", "", false, []string{"If-Match", `"other"`}, 412, "ConditionNotMet"},
		"condition of a put": {http.MethodPut, "/mail/there", "text", false, []string{blob, "BlockBlob", "If-None-Match", "*"}, 409, "BlobAlreadyExists"},
		"lock without locks": {http.MethodPut, "/mail/there?comp=legalhold", "", false, []string{"x-ms-legal-hold", "true"}, 409, "FeatureNotEnabled"},
		"verb":               {http.MethodPost, "/mail/key", "", false, nil, 405, "UnsupportedHttpVerb"},
	} {
		t.Run(name, func(t *testing.T) {
			srv.Add("there", []byte("text"))
			if status, code := send(t, tc.method, tc.path, tc.body, !tc.unsigned, tc.headers...); status != tc.status || code != tc.code {
				t.Errorf("got %d %s, want %d %s", status, code, tc.status, tc.code)
			}
		})
	}
}
