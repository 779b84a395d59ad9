package objecttest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func (s *toy) begin(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := fmt.Sprint("upload-", s.next)
	u := &toyUpload{key: key, about: aboutOf(r), parts: make(map[int]blob), began: time.Now()}
	if s.abortsAll {
		u.began = u.began.AddDate(-1, 0, 0)
	}
	s.uploads[id] = u
	answerJSON(w, id)
}

func (s *toy) part(w http.ResponseWriter, r *http.Request, key string) {
	b, _, ok := s.body(w, r)
	if !ok {
		return
	}
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[key]
	if u == nil || err != nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	u.parts[n] = b
	if s.visibleParts {
		s.set(w, u.key, b, u.about)
	}
}

func (s *toy) complete(w http.ResponseWriter, r *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[key]
	if u == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	if s.overwritesOnComplete {
		r.Header.Del("If-None-Match")
	}
	if !s.may(w, r, u.key) {
		return
	}
	var parts []blob
	for n := 1; n <= len(u.parts); n++ {
		parts = append(parts, u.parts[n])
	}
	delete(s.uploads, key)
	s.set(w, u.key, join(parts...), u.about)
}

func (s *toy) abort(w http.ResponseWriter, _ *http.Request, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads[key] == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	delete(s.uploads, key)
}

func (s *toy) listUploads(w http.ResponseWriter, _ *http.Request, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []connection.Incomplete{}
	for id, u := range s.uploads {
		if !s.noOldUploads {
			found = append(found, connection.Incomplete{ID: id, Key: u.key, Started: u.began})
		}
	}
	answerJSON(w, found)
}
