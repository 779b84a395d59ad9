package objecttest

import (
	"crypto/md5" //nolint:gosec // the digest of ETag
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *S3) createUpload(w http.ResponseWriter, r *s3Request) *s3Error {
	o, refusal := s.describe(r)
	if refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal := s.free(r, s.opts.Conditions == S3CreateOnly); refusal != nil {
		return refusal
	}
	u := &s3Upload{id: strings.ToLower(rand.Text()), key: r.key, object: o, parts: make(map[int]s3Part), started: s.Now()}
	s.uploads[u.id] = u
	answerXML(w, struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string
	}{Bucket: s.opts.Bucket, Key: r.key, UploadId: u.id})
	return nil
}

// upload finds the upload that r names. The caller holds s.mu.
func (s *S3) upload(r *s3Request) (*s3Upload, *s3Error) {
	u, ok := s.uploads[r.URL.Query().Get("uploadId")]
	if !ok || u.key != r.key {
		return nil, s3Refuse(http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	}
	return u, nil
}

// addPart makes data the part that r names.
func (s *S3) addPart(r *s3Request, data blob) (etag string, refusal *s3Error) {
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || number < 1 || number > 10_000 {
		return "", s3Refuse(http.StatusBadRequest, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	etag = s.tag(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	u, refusal := s.upload(r)
	if refusal == nil {
		u.parts[number] = s3Part{data, etag}
	}
	return etag, refusal
}

func (s *S3) uploadPart(w http.ResponseWriter, r *s3Request) *s3Error {
	data, refusal := s.receive(r)
	if refusal != nil {
		return refusal
	}
	etag, refusal := s.addPart(r, data)
	if refusal == nil {
		w.Header().Set("ETag", `"`+etag+`"`)
	}
	return refusal
}

func (s *S3) uploadPartCopy(w http.ResponseWriter, r *s3Request) *s3Error {
	s.mu.Lock()
	from, refusal := s.source(r)
	var data blob
	if refusal == nil {
		data = from.data
	}
	s.mu.Unlock()
	if refusal != nil {
		return refusal
	}
	if text := r.Header.Get("X-Amz-Copy-Source-Range"); text != "" {
		offset, n, ok := s3Range(text, data.size)
		if !ok {
			return s3Refuse(http.StatusBadRequest, "InvalidArgument", "Range specified is not valid for source object")
		}
		data = data.part(offset, n)
	}
	etag, refusal := s.addPart(r, data)
	if refusal == nil {
		answerXML(w, s3CopyResult{XMLName: xml.Name{Local: "CopyPartResult"}, ETag: `"` + etag + `"`, LastModified: s3Time(s.Now())})
	}
	return refusal
}

type s3CompletePart struct {
	PartNumber int
	ETag       string
}

func (s *S3) completeUpload(w http.ResponseWriter, r *s3Request) *s3Error {
	var list struct {
		XMLName xml.Name         `xml:"CompleteMultipartUpload"`
		Part    []s3CompletePart `xml:"Part"`
	}
	if refusal := s.readXML(r, &list); refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, refusal := s.upload(r)
	if refusal == nil {
		refusal = s.free(r, s.opts.Conditions == S3Obeyed)
	}
	if refusal != nil {
		return refusal
	}
	o, refusal := s.assemble(u, list.Part)
	if refusal != nil {
		return refusal
	}
	delete(s.uploads, u.id)
	stored := s.store(r.key, o)
	stored.answer(w.Header(), false)
	answerXML(w, struct {
		XMLName                     xml.Name `xml:"CompleteMultipartUploadResult"`
		Location, Bucket, Key, ETag string
	}{Location: s.URL() + "/" + s.opts.Bucket, Bucket: s.opts.Bucket, Key: r.key, ETag: `"` + stored.etag + `"`})
	return nil
}

// assemble makes the object of an upload's parts.
func (s *S3) assemble(u *s3Upload, list []s3CompletePart) (o s3Object, refusal *s3Error) {
	if len(list) == 0 {
		return o, s3Refuse(http.StatusBadRequest, "MalformedXML", "You must specify at least one part")
	}
	o = u.object
	sums, last := md5.New(), 0 //nolint:gosec // as above
	var parts []blob
	for i, p := range list {
		have, ok := u.parts[p.PartNumber]
		switch {
		case p.PartNumber <= last:
			return o, s3Refuse(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order.")
		case !ok || have.etag != strings.Trim(p.ETag, `"`):
			return o, s3Refuse(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found.")
		case i < len(list)-1 && have.data.size < s.opts.MinPart:
			return o, s3Refuse(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		last = p.PartNumber
		sum, _ := hex.DecodeString(have.etag) // ours
		_, _ = sums.Write(sum)                // a hash never fails
		parts = append(parts, have.data)
	}
	o.data = join(parts...)
	o.etag = fmt.Sprintf("%x-%d", sums.Sum(nil), len(list))
	return o, nil
}

func (s *S3) abortUpload(w http.ResponseWriter, r *s3Request) *s3Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, refusal := s.upload(r)
	if refusal != nil {
		return refusal
	}
	delete(s.uploads, u.id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *S3) listParts(w http.ResponseWriter, r *s3Request) *s3Error {
	type part struct {
		PartNumber int
		Size       int64
		ETag       string
	}
	result := struct {
		XMLName              xml.Name `xml:"ListPartsResult"`
		Bucket, Key          string
		NextPartNumberMarker int
		IsTruncated          bool
		Part                 []part
	}{Bucket: s.opts.Bucket, Key: r.key}
	after, _ := strconv.Atoi(r.URL.Query().Get("part-number-marker")) // none is 0
	s.mu.Lock()
	defer s.mu.Unlock()
	u, refusal := s.upload(r)
	if refusal != nil {
		return refusal
	}
	for _, number := range slices.Sorted(maps.Keys(u.parts)) {
		if number <= after {
			continue
		}
		if len(result.Part) == s.opts.PageSize {
			result.IsTruncated = true
			break
		}
		p := u.parts[number]
		result.Part = append(result.Part, part{number, p.data.size, `"` + p.etag + `"`})
		result.NextPartNumberMarker = number
	}
	answerXML(w, result)
	return nil
}

func (s *S3) listUploads(w http.ResponseWriter, r *s3Request) *s3Error {
	type upload struct{ Key, UploadId, Initiated string }
	q := r.URL.Query()
	result := struct {
		XMLName                           xml.Name `xml:"ListMultipartUploadsResult"`
		Bucket, EncodingType              string
		NextKeyMarker, NextUploadIdMarker string
		IsTruncated                       bool
		Upload                            []upload
	}{Bucket: s.opts.Bucket, EncodingType: s.encoding(q.Get("encoding-type"))}
	limit := s.pageSize(q.Get("max-uploads"))
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.SortedFunc(maps.Values(s.uploads), func(a, b *s3Upload) int {
		return strings.Compare(a.key+"\x00"+a.id, b.key+"\x00"+b.id)
	})
	for _, u := range all {
		if u.key < q.Get("key-marker") || u.key == q.Get("key-marker") && u.id <= q.Get("upload-id-marker") || !strings.HasPrefix(u.key, q.Get("prefix")) {
			continue
		}
		if len(result.Upload) == limit {
			result.IsTruncated = true
			break
		}
		key := s3ListKey(u.key, result.EncodingType)
		result.Upload = append(result.Upload, upload{key, u.id, s3Time(u.started)})
		result.NextKeyMarker, result.NextUploadIdMarker = key, u.id
	}
	answerXML(w, result)
	return nil
}
