package b2

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Names of file information. The server keeps at most ten, and HTTP does not keep their case.
const (
	infoSHA256 = "mailconn-sha256"
	infoMeta   = "mailconn-meta" // metadata that cannot have names of their own, as JSON
	infoSHA1   = "large_file_sha1"
	infoMTime  = "src_last_modified_millis"

	maxOwnNames = 7
	maxOwnName  = 50 // octets
)

// fileInfo returns what is kept with a file.
func fileInfo(sha256 string, meta map[string]string) map[string]string {
	info := make(map[string]string, len(meta)+1)
	if sha256 != "" {
		info[infoSHA256] = sha256
	}
	if ownNames(meta) {
		for name, value := range meta {
			info[name] = value
		}
		return info
	}
	info[infoMeta] = pack(meta)
	return info
}

// pack writes metadata into one value.
func pack(meta map[string]string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the server limits the length
	_ = e.Encode(meta)     // strings only
	return strings.TrimSpace(b.String())
}

// ownNames reports whether the names of meta come back as they are.
func ownNames(meta map[string]string) bool {
	if len(meta) > maxOwnNames {
		return false
	}
	for name, value := range meta {
		if value == "" || len(name) > maxOwnName || name != strings.ToLower(name) || reserved(name) {
			return false
		}
	}
	return true
}

// reserved reports whether a name means something to the server or to us.
func reserved(name string) bool {
	return strings.HasPrefix(name, "b2-") || strings.HasPrefix(name, "mailconn-") || name == infoSHA1 || name == infoMTime
}

// describe fills info from the file information that came back.
func describe(info *connection.ObjectInfo, kept map[string]string) {
	for name, value := range kept {
		switch name = strings.ToLower(name); {
		case name == infoSHA256:
			info.SHA256 = value
		case name == infoMeta:
			var packed map[string]string
			if json.Unmarshal([]byte(value), &packed) != nil {
				continue // not of our making
			}
			for own, value := range packed {
				setMeta(info, own, value)
			}
		case !reserved(name):
			setMeta(info, name, value)
		}
	}
}

func setMeta(info *connection.ObjectInfo, name, value string) {
	if info.Meta == nil {
		info.Meta = make(map[string]string)
	}
	info.Meta[name] = value
}

// A file is a version of a file, as listings tell it.
type file struct {
	ID          string            `json:"fileId"`
	Name        string            `json:"fileName"`
	Action      string            `json:"action"`
	Size        int64             `json:"contentLength"`
	ContentType string            `json:"contentType"`
	Info        map[string]string `json:"fileInfo"`
	Uploaded    int64             `json:"uploadTimestamp"` // ms
	Retention   struct {
		Value struct {
			Mode  string `json:"mode"`
			Until int64  `json:"retainUntilTimestamp"` // ms
		} `json:"value"`
	} `json:"fileRetention"`
	LegalHold struct {
		Value string `json:"value"`
	} `json:"legalHold"`
}

// The actions of files in listings.
const (
	actionUpload = "upload"
	actionHide   = "hide"
	actionFolder = "folder"
	actionStart  = "start" // a large file that is not finished
)

func (f *file) object() connection.ObjectInfo {
	info := connection.ObjectInfo{
		Key: f.Name, Size: f.Size, Modified: millis(f.Uploaded), ETag: f.ID, Version: f.ID, ContentType: f.ContentType,
		Lock: connection.Lock{RetainUntil: millis(f.Retention.Value.Until), LegalHold: f.LegalHold.Value == "on"},
	}
	describe(&info, f.Info)
	return info
}

func millis(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// fileOf reads the headers of a download.
func fileOf(h http.Header) *file {
	f := &file{ID: h.Get("X-Bz-File-Id"), ContentType: h.Get("Content-Type"), Info: make(map[string]string)}
	f.Uploaded = number(h.Get("X-Bz-Upload-Timestamp"))
	f.Retention.Value.Mode = h.Get("X-Bz-File-Retention-Mode")
	f.Retention.Value.Until = number(h.Get("X-Bz-File-Retention-Retain-Until-Timestamp"))
	f.LegalHold.Value = h.Get("X-Bz-File-Legal-Hold")
	for name := range h {
		own, ok := strings.CutPrefix(name, "X-Bz-Info-")
		if !ok {
			continue
		}
		if value, err := url.QueryUnescape(h.Get(name)); err == nil {
			f.Info[own] = value
		}
	}
	return f
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func contentType(given string) string {
	if given == "" {
		return "application/octet-stream"
	}
	return given
}
