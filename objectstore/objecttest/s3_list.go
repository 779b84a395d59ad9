package objecttest

import (
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (s *S3) headBucket(w http.ResponseWriter, _ *s3Request) *s3Error {
	w.Header().Set("X-Amz-Bucket-Region", s.opts.Region)
	return nil
}

// encoding returns what encoding-type the answer has.
func (s *S3) encoding(wanted string) string {
	if s.opts.PlainListing {
		return ""
	}
	return wanted
}

func (s *S3) pageSize(wanted string) int {
	if n, err := strconv.Atoi(wanted); err == nil && n < s.opts.PageSize {
		return n
	}
	return s.opts.PageSize
}

// s3ListKey returns a key as listings have it.
func s3ListKey(key, encoding string) string {
	if encoding != "url" {
		return key
	}
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}

type s3ListEntry struct {
	Key, LastModified, ETag string
	Size                    int64
	StorageClass            string
}

type s3ListPrefix struct{ Prefix string }

type s3ListResult struct {
	XMLName                       xml.Name `xml:"ListBucketResult"`
	Name, Prefix, Delimiter       string
	EncodingType                  string `xml:",omitempty"`
	MaxKeys, KeyCount             int
	IsTruncated                   bool
	NextContinuationToken         string `xml:",omitempty"`
	Contents                      []s3ListEntry
	CommonPrefixes                []s3ListPrefix
	ContinuationToken, StartAfter string `xml:",omitempty"`
}

func (s *S3) listObjects(w http.ResponseWriter, r *s3Request) *s3Error {
	q := r.URL.Query()
	if q.Get("list-type") != "2" {
		return s3Refuse(http.StatusNotImplemented, "NotImplemented", "only version 2 of listings is implemented")
	}
	if _, err := strconv.Atoi(q.Get("max-keys")); q.Has("max-keys") && err != nil {
		return s3Refuse(http.StatusBadRequest, "InvalidArgument", "Argument max-keys must be an integer")
	}
	token, err := base64.StdEncoding.DecodeString(q.Get("continuation-token"))
	if err != nil {
		return s3Refuse(http.StatusBadRequest, "InvalidArgument", "The continuation token provided is incorrect")
	}
	result := s3ListResult{Name: s.opts.Bucket, EncodingType: s.encoding(q.Get("encoding-type")), MaxKeys: s.pageSize(q.Get("max-keys")), ContinuationToken: q.Get("continuation-token")}
	result.Prefix, result.Delimiter = s3ListKey(q.Get("prefix"), result.EncodingType), s3ListKey(q.Get("delimiter"), result.EncodingType)
	resume, full := strings.CutPrefix(string(token), "+")
	if s.opts.EmptyPages && !full {
		result.IsTruncated, result.NextContinuationToken = true, base64.StdEncoding.EncodeToString([]byte("+"+resume))
		answerXML(w, result)
		return nil
	}
	l := listing{prefix: q.Get("prefix"), delimiter: q.Get("delimiter"), resume: resume, limit: result.MaxKeys}
	if !q.Has("continuation-token") || resume == "" {
		l.after = q.Get("start-after")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	page, more := s.current.list(l, func(at time.Time) bool { return s.settled(at) })
	for _, e := range page {
		key := s3ListKey(e.key, result.EncodingType)
		if e.prefix {
			result.CommonPrefixes = append(result.CommonPrefixes, s3ListPrefix{key})
			continue
		}
		if s.opts.HidesChildren && s.below(e.key) {
			continue
		}
		result.Contents = append(result.Contents, s3ListEntry{key, s3Time(e.item.modified), `"` + e.item.etag + `"`, e.item.data.size, e.item.class})
	}
	result.KeyCount, result.IsTruncated = len(page), more
	if more {
		result.NextContinuationToken = base64.StdEncoding.EncodeToString([]byte(page[len(page)-1].key))
	}
	answerXML(w, result)
	return nil
}

// listVersions answers with one page that holds everything.
func (s *S3) listVersions(w http.ResponseWriter, r *s3Request) *s3Error {
	type version struct {
		Key, VersionId, LastModified string
		IsLatest                     bool
	}
	result := struct {
		XMLName      xml.Name `xml:"ListVersionsResult"`
		Name         string
		IsTruncated  bool
		Version      []version
		DeleteMarker []version
	}{Name: s.opts.Bucket}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.versions)) {
		if !strings.HasPrefix(key, r.URL.Query().Get("prefix")) {
			continue
		}
		all := s.versions[key]
		for i := len(all) - 1; i >= 0; i-- {
			v := version{key, cmp.Or(all[i].version, "null"), s3Time(all[i].modified), i == len(all)-1}
			if all[i].marker {
				result.DeleteMarker = append(result.DeleteMarker, v)
			} else {
				result.Version = append(result.Version, v)
			}
		}
	}
	answerXML(w, result)
	return nil
}

// below reports whether a key is under the key of another object. The caller holds s.mu.
func (s *S3) below(key string) bool {
	for i := range key {
		if key[i] != '/' {
			continue
		}
		if _, ok := s.current.get(key[:i]); ok {
			return true
		}
	}
	return false
}
