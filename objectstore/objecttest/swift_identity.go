package objecttest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func hexText(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// authenticate serves the identity service of the version that the options name, and no other.
func (s *Swift) authenticate(w http.ResponseWriter, r *http.Request) {
	path := map[string]string{SwiftV1: "/auth/v1.0", SwiftV2: "/v2.0/tokens", SwiftRackspace: "/v2.0/tokens", SwiftV3: "/v3/auth/tokens"}[s.opts.Auth]
	method := http.MethodPost
	if s.opts.Auth == SwiftV1 {
		method = http.MethodGet
	}
	if r.URL.Path != path {
		swiftError(w, http.StatusNotFound, "The resource could not be found.")
		return
	}
	if r.Method != method {
		swiftError(w, http.StatusMethodNotAllowed, "The method is not allowed for this resource.")
		return
	}
	switch s.opts.Auth {
	case SwiftV1:
		s.authenticateV1(w, r)
	case SwiftV3:
		s.authenticateV3(w, r)
	default:
		s.authenticateV2(w, r)
	}
}

func (s *Swift) authenticateV1(w http.ResponseWriter, r *http.Request) {
	project, user, _ := strings.Cut(r.Header.Get("X-Auth-User"), ":")
	if project != s.opts.Project || !s.knows(user, r.Header.Get("X-Auth-Key")) {
		w.Header().Set("Www-Authenticate", `Swift realm="unknown"`)
		swiftError(w, http.StatusUnauthorized, "This server could not verify that you are authorized to access the document you requested.")
		return
	}
	token := s.issue("AUTH_tk", user)
	w.Header().Set("X-Auth-Token", token)
	w.Header().Set("X-Storage-Token", token)
	w.Header().Set("X-Storage-Url", s.URL()+s.account())
	w.WriteHeader(http.StatusOK)
}

// knows reports whether there is a user with that key.
func (s *Swift) knows(user, key string) bool {
	return (equal(user, s.opts.User) || user == SwiftGuest) && equal(key, s.opts.Key)
}

// issue gives out a token.
func (s *Swift) issue(prefix, user string) string {
	token := prefix + hexText(16)
	t := swiftToken{guest: user == SwiftGuest}
	if s.opts.TokenLife > 0 {
		t.end = time.Now().Add(s.opts.TokenLife)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = t
	return token
}

// readIdentity decodes a request for a token strictly.
func readIdentity(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.Header.Get("Content-Type") != "application/json" {
		identityError(w, http.StatusUnsupportedMediaType, "the content type must be application/json")
		return false
	}
	d := json.NewDecoder(io.LimitReader(r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		identityError(w, http.StatusBadRequest, "Expecting to find valid JSON: "+err.Error())
		return false
	}
	return true
}

func identityError(w http.ResponseWriter, status int, text string) {
	swiftJSON(w, status, map[string]any{"error": map[string]any{"code": status, "title": http.StatusText(status), "message": text}})
}

func identityRefusal(w http.ResponseWriter) {
	identityError(w, http.StatusUnauthorized, "The request you have made requires authentication.")
}

func (s *Swift) authenticateV2(w http.ResponseWriter, r *http.Request) {
	type credentials struct {
		Username string `json:"username"`
		Password string `json:"password"`
		APIKey   string `json:"apiKey"`
	}
	var ask struct {
		Auth struct {
			Password *credentials `json:"passwordCredentials"`
			APIKey   *credentials `json:"RAX-KSKEY:apiKeyCredentials"`
			Project  string       `json:"tenantName"`
		} `json:"auth"`
	}
	if !readIdentity(w, r, &ask) {
		return
	}
	given, key := ask.Auth.Password, ""
	if s.opts.Auth == SwiftRackspace {
		given = ask.Auth.APIKey
	}
	if given != nil {
		key = given.Password + given.APIKey
	}
	switch {
	case given == nil && ask.Auth.Password == nil && ask.Auth.APIKey == nil:
		identityError(w, http.StatusBadRequest, "Expecting to find auth in request body.")
		return
	case given == nil, !s.knows(given.Username, key), ask.Auth.Project != "" && ask.Auth.Project != s.opts.Project:
		identityRefusal(w)
		return
	}
	var endpoints []map[string]string
	for _, region := range s.opts.Regions {
		url := s.storageURL(region)
		endpoints = append(endpoints, map[string]string{"publicURL": url, "internalURL": url + "/internal", "region": region, "tenantId": s.opts.Project})
	}
	token := s.issue("", given.Username)
	swiftJSON(w, http.StatusOK, map[string]any{"access": map[string]any{
		"token": map[string]any{"id": token, "expires": s.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339), "tenant": map[string]string{"id": s.opts.Project, "name": s.opts.Project}},
		"serviceCatalog": []any{
			map[string]any{"type": "identity", "name": "keystone", "endpoints": []map[string]string{{"publicURL": s.URL() + "/v2.0", "region": s.region()}}},
			map[string]any{"type": "object-store", "name": "swift", "endpoints": endpoints},
		},
		"user": map[string]any{"id": "u1", "name": given.Username, "RAX-AUTH:defaultRegion": s.region()},
	}})
}

// storageURL is where the catalogue says that a region's storage is.
func (s *Swift) storageURL(region string) string {
	if region == s.region() {
		return s.URL() + s.account()
	}
	return "http://" + strings.ToLower(region) + ".invalid" + s.account()
}

// A v3Name names a domain, a user or a project by id or by name and domain.
type v3Name struct {
	ID       string  `json:"id"`
	Name     string  `json:"name"`
	Password string  `json:"password"`
	Domain   *v3Name `json:"domain"`
}

func (s *Swift) inDomain(d *v3Name) bool {
	return d != nil && (d.ID == s.opts.DomainID && d.Name == "" || d.ID == "" && d.Name == s.opts.Domain)
}

func (s *Swift) authenticateV3(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Auth struct {
			Identity struct {
				Methods  []string `json:"methods"`
				Password *struct {
					User v3Name `json:"user"`
				} `json:"password"`
				Application *struct {
					ID     string `json:"id"`
					Secret string `json:"secret"`
				} `json:"application_credential"`
			} `json:"identity"`
			Scope *struct {
				Project *v3Name `json:"project"`
			} `json:"scope"`
		} `json:"auth"`
	}
	if !readIdentity(w, r, &ask) {
		return
	}
	id, scope := ask.Auth.Identity, ask.Auth.Scope
	scoped, user := scope != nil && scope.Project != nil, ""
	switch {
	case slices.Equal(id.Methods, []string{"application_credential"}) && id.Application != nil:
		if scope != nil {
			identityError(w, http.StatusUnauthorized, "Application credentials cannot request a scope.")
			return
		}
		if !equal(id.Application.ID, s.appID) || !equal(id.Application.Secret, s.appSecret) {
			identityRefusal(w)
			return
		}
		scoped, user = true, s.opts.User
	case slices.Equal(id.Methods, []string{"password"}) && id.Password != nil:
		u := id.Password.User
		user = u.Name
		if !s.inDomain(u.Domain) || !s.knows(u.Name, u.Password) ||
			scoped && (scope.Project.Name != s.opts.Project || !s.inDomain(scope.Project.Domain)) {
			identityRefusal(w)
			return
		}
	default:
		identityError(w, http.StatusBadRequest, "Expecting to find identity in auth.")
		return
	}
	answer := map[string]any{"methods": id.Methods, "expires_at": s.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano), "user": map[string]string{"name": user}}
	if scoped { // a token without a project has no catalogue
		var endpoints []map[string]string
		for _, region := range s.opts.Regions {
			for _, kind := range []string{"admin", "internal", "public"} {
				url := s.storageURL(region)
				if kind != "public" {
					url = "http://" + kind + ".invalid/v1"
				}
				endpoints = append(endpoints, map[string]string{"id": hexText(16), "interface": kind, "region": region, "region_id": region, "url": url})
			}
		}
		answer["catalog"] = []any{map[string]any{"type": "object-store", "name": "swift", "endpoints": endpoints}}
		answer["project"] = map[string]any{"name": s.opts.Project}
	}
	w.Header().Set("X-Subject-Token", s.issue("", user))
	swiftJSON(w, http.StatusCreated, map[string]any{"token": answer})
}

// authorize checks the token, or the signature of a temporary URL.
func (s *Swift) authorize(w http.ResponseWriter, r *http.Request, op string) bool {
	if r.URL.Query().Has("temp_url_sig") {
		if !s.signed(r) {
			swiftError(w, http.StatusUnauthorized, "Temp URL invalid")
			return false
		}
		return true
	}
	s.mu.Lock()
	token, ok := s.tokens[r.Header.Get("X-Auth-Token")]
	s.mu.Unlock()
	if !ok || !token.end.IsZero() && time.Now().After(token.end) {
		swiftError(w, http.StatusUnauthorized, "This server could not verify that you are authorized to access the document you requested.")
		return false
	}
	reading := []string{"HeadAccount", "ListObjects", "HeadContainer", "GetObject", "GetManifest", "HeadObject"}
	if token.guest || s.opts.Reader && !slices.Contains(reading, op) {
		swiftError(w, http.StatusForbidden, "Access was denied to this resource.")
		return false
	}
	return true
}

// signed checks a temporary URL as the middleware tempurl does: over the path without its escapes.
func (s *Swift) signed(r *http.Request) bool {
	q := r.URL.Query()
	sig, err := hex.DecodeString(q.Get("temp_url_sig"))
	until, errTime := strconv.ParseInt(q.Get("temp_url_expires"), 10, 64)
	if err != nil || errTime != nil || s.opts.TempURLKey == "" || s.opts.NoTempURL || s.Now().Unix() >= until {
		return false
	}
	name, newHash := "", (func() hash.Hash)(nil)
	switch len(sig) {
	case sha1.Size:
		name, newHash = "sha1", sha1.New
	case sha256.Size:
		name, newHash = "sha256", sha256.New
	case sha512.Size:
		name, newHash = "sha512", sha512.New
	}
	if !slices.Contains(s.opts.TempURLDigests, name) {
		return false
	}
	mac := hmac.New(newHash, []byte(s.opts.TempURLKey))
	mac.Write([]byte(r.Method + "\n" + q.Get("temp_url_expires") + "\n" + r.URL.Path))
	return hmac.Equal(mac.Sum(nil), sig)
}

func (s *Swift) getInfo(w http.ResponseWriter) {
	if s.opts.NoInfo {
		swiftError(w, http.StatusForbidden, "Access was denied to this resource.")
		return
	}
	info := map[string]any{"swift": map[string]any{
		"version": "2.30.1", "max_file_size": s.opts.MaxFile, "container_listing_limit": s.opts.PageSize, "max_object_name_length": 1024,
	}}
	if !s.opts.NoBulk {
		info["bulk_delete"] = map[string]any{"max_deletes_per_request": swiftMaxBulk, "max_failed_deletes": 1000}
	}
	if !s.opts.NoSLO {
		info["slo"] = map[string]any{"max_manifest_segments": swiftMaxSegments, "min_segment_size": 1, "max_manifest_size": swiftMaxManifest}
	}
	if !s.opts.NoTempURL {
		info["tempurl"] = map[string]any{"methods": []string{"GET", "HEAD", "PUT", "POST", "DELETE"}, "allowed_digests": s.opts.TempURLDigests}
	}
	swiftJSON(w, http.StatusOK, info)
}
