package peertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// A TokenEndpoint is an OAuth 2.0 token endpoint (RFC 6749, 3.2), for the setting oauth2. Its methods may be called from
// several goroutines.
type TokenEndpoint struct {
	URL string

	mu    sync.Mutex
	asked []string
}

// NewTokenEndpoint starts a TokenEndpoint that ends with the test. It gives the tokens one after the other, and the last
// one again and again; without any it refuses with invalid_client, and repeats the secret that it was sent.
func NewTokenEndpoint(t testing.TB, tokens ...string) *TokenEndpoint {
	t.Helper()
	e := &TokenEndpoint{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.asked = append(e.asked, r.FormValue("grant_type")+" "+r.FormValue("scope"))
		w.Header().Set("Content-Type", "application/json")
		if len(tokens) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			_, secret, _ := r.BasicAuth()
			_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":%q}`, "wrong secret "+r.FormValue("client_secret")+secret) // the client notices
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, tokens[min(len(e.asked), len(tokens))-1]) // as above
	}))
	t.Cleanup(srv.Close)
	e.URL = srv.URL
	return e
}

// Asked returns what was asked for so far: "grant_type scope" of each request.
func (e *TokenEndpoint) Asked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.asked)
}
