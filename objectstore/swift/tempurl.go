package swift

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Presign implements objectstore.Presigner: a temporary URL of the middleware tempurl. The library's own function neither
// escapes names nor knows SHA-256, which newer clusters demand.
func (b *backend) Presign(ctx context.Context, method, key string, expires time.Duration) (connection.Secret, error) {
	s, err := b.account.session(ctx)
	if err != nil {
		return connection.Secret{}, err
	}
	info, err := b.info(ctx)
	if err != nil {
		return connection.Secret{}, err
	}
	digest, err := info.digest()
	if err != nil {
		return connection.Secret{}, err
	}
	secret, err := b.signingKey(ctx)
	if err != nil {
		return connection.Secret{}, err
	}
	u := *s.storage
	u.Path += "/" + b.place.container + "/" + key
	skew, _ := b.skew() // the server's clock judges it
	until := strconv.FormatInt(time.Now().Add(skew+expires).Unix(), 10)
	mac := hmac.New(digest, []byte(secret.Reveal()))
	_, _ = fmt.Fprintf(mac, "%s\n%s\n%s", method, until, u.Path) // a hash never fails
	u.RawQuery = url.Values{"temp_url_sig": {hex.EncodeToString(mac.Sum(nil))}, "temp_url_expires": {until}}.Encode()
	return connection.NewSecret(u.String()), nil
}

// A clusterInfo is what a cluster tells of itself.
type clusterInfo struct {
	Swift struct {
		Version     string
		MaxFileSize int64 `json:"max_file_size"`
	}
	TempURL *struct {
		Methods        []string
		AllowedDigests []string `json:"allowed_digests"`
	} `json:"tempurl"`
	SLO *struct {
		MaxSegments    int   `json:"max_manifest_segments"`
		MinSegmentSize int64 `json:"min_segment_size"`
	} `json:"slo"`
	BulkDelete *struct {
		Max int `json:"max_deletes_per_request"`
	} `json:"bulk_delete"`
	ContainerQuotas *struct{} `json:"container_quotas"`
	RateLimit       *struct {
		Account float64 `json:"account_ratelimit"`
	} `json:"ratelimit"`
}

// info asks the cluster what it has: GET /info beside the storage URL's version.
func (b *backend) info(ctx context.Context) (*clusterInfo, error) {
	s, err := b.account.session(ctx)
	if err != nil {
		return nil, err
	}
	u := *s.storage
	u.Path = path.Join("/", u.Path, "..", "..", "info") // beside /v1/AUTH_account
	a, err := b.send(ctx, &request{method: http.MethodGet, url: u.String()})
	if err != nil {
		return nil, err
	}
	defer a.discard()
	var info clusterInfo
	if err := decode(ctx, a.body, maxCatalogue, &info); err != nil {
		return nil, err
	}
	return &info, nil
}

// digest returns the hash that temporary URLs are signed with.
func (i *clusterInfo) digest() (func() hash.Hash, error) {
	switch {
	case i.TempURL == nil:
		return nil, &connection.Error{Kind: connection.ErrUnsupported, Err: errors.New("the cluster has no temporary URLs")}
	case slices.Contains(i.TempURL.AllowedDigests, "sha256"):
		return sha256.New, nil
	case len(i.TempURL.AllowedDigests) == 0, slices.Contains(i.TempURL.AllowedDigests, "sha1"):
		return sha1.New, nil
	}
	return nil, &connection.Error{Kind: connection.ErrUnsupported, Err: fmt.Errorf("the cluster signs temporary URLs with %v only", i.TempURL.AllowedDigests)}
}

// signingKey returns the key that temporary URLs are signed with: of the settings, the container or the account.
func (b *backend) signingKey(ctx context.Context) (connection.Secret, error) {
	if !b.tempURLKey.IsZero() {
		return b.tempURLKey, nil
	}
	for _, at := range []struct{ container, prefix string }{{b.place.container, "X-Container-Meta-"}, {"", "X-Account-Meta-"}} {
		a, err := b.send(ctx, &request{method: http.MethodHead, container: at.container})
		switch {
		case connection.KindOf(err) == connection.ErrNotFound:
			return connection.Secret{}, b.noContainer(err)
		case connection.KindOf(err) == connection.ErrPermission:
			continue
		case err != nil:
			return connection.Secret{}, err
		}
		a.discard()
		for _, name := range []string{"Temp-Url-Key", "Temp-Url-Key-2"} {
			if key := a.header.Get(at.prefix + name); key != "" {
				return connection.NewSecret(key), nil
			}
		}
	}
	return connection.Secret{}, &connection.Error{
		Kind: connection.ErrUnsupported, Err: errors.New("neither the container nor the account has a key for temporary URLs"),
		Hint: "temp_url_key: give the account or the container a key (swift post -m Temp-URL-Key:…), and set it here too if this user may not read it",
	}
}
