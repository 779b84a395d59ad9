package peertest

import (
	"net/http"
	"testing"
)

// A Swift serves its containers, and knows its users apart.
func TestSwiftServes(t *testing.T) {
	s := Swift(t, &SwiftOptions{Containers: []string{"one", "two"}})
	for _, name := range []string{"one", "two"} {
		if _, err := s.Request(t.Context(), http.MethodHead, "/"+name, nil); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Request(t.Context(), http.MethodHead, "/three", nil); err == nil {
		t.Error("it has a container that nobody made")
	}
	reader, err := s.LogIn(t.Context(), s.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.request(t.Context(), http.MethodHead, reader.Get("X-Storage-Url")+"/one", http.Header{"X-Auth-Token": {reader.Get("X-Auth-Token")}}); err == nil {
		t.Error("a user without rights looks at a container")
	}
}
