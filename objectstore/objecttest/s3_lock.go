package objecttest

import (
	"encoding/xml"
	"net/http"
	"slices"
	"time"
)

func (s *S3) getVersioning(w http.ResponseWriter, _ *s3Request) *s3Error {
	status := ""
	if s.opts.Versions {
		status = "Enabled"
	}
	answerXML(w, struct {
		XMLName xml.Name `xml:"VersioningConfiguration"`
		Status  string   `xml:",omitempty"`
	}{Status: status})
	return nil
}

func (s *S3) getLockConfiguration(w http.ResponseWriter, _ *s3Request) *s3Error {
	if !s.opts.Lock {
		return s3Refuse(http.StatusNotFound, "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
	}
	answerXML(w, struct {
		XMLName           xml.Name `xml:"ObjectLockConfiguration"`
		ObjectLockEnabled string
	}{ObjectLockEnabled: "Enabled"})
	return nil
}

// describeLock reads the headers of a lock.
func (s *S3) describeLock(r *s3Request, o *s3Object) *s3Error {
	mode, until, hold := r.Header.Get("X-Amz-Object-Lock-Mode"), r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date"), r.Header.Get("X-Amz-Object-Lock-Legal-Hold")
	switch {
	case mode == "" && until == "" && hold == "":
		return nil
	case !s.opts.Lock:
		return s3Refuse(http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
	case (mode == "") != (until == ""), hold != "" && hold != "ON" && hold != "OFF":
		return s3Refuse(http.StatusBadRequest, "InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	o.hold = hold == "ON"
	if mode == "" {
		return nil
	}
	return s.retention(o, mode, until)
}

// retention sets what retains an object.
func (s *S3) retention(o *s3Object, mode, until string) *s3Error {
	at, err := time.Parse(time.RFC3339, until)
	switch {
	case mode != "GOVERNANCE" && mode != "COMPLIANCE":
		return s3Refuse(http.StatusBadRequest, "InvalidArgument", "Unknown wormMode directive.")
	case err != nil:
		return s3Refuse(http.StatusBadRequest, "InvalidArgument", "The retain until date must be provided in ISO 8601 format")
	case !at.After(s.Now()):
		return s3Refuse(http.StatusBadRequest, "InvalidArgument", "The retain until date must be in the future!")
	}
	o.mode, o.until = mode, at
	return nil
}

// locked says why o may not be deleted or its lock weakened. bypass is the header of that name.
func (s *S3) locked(o *s3Object, bypass bool) *s3Error {
	if !o.hold && (!o.until.After(s.Now()) || o.mode == "GOVERNANCE" && bypass) {
		return nil
	}
	if s.opts.MinIOLockRefusal {
		return s3Refuse(http.StatusBadRequest, "InvalidRequest", "Object is WORM protected and cannot be overwritten")
	}
	return s3Refuse(http.StatusForbidden, "AccessDenied", "Access Denied because object protected by object lock.")
}

func bypass(r *s3Request) bool { return r.Header.Get("X-Amz-Bypass-Governance-Retention") == "true" }

func (s *S3) deleteObject(w http.ResponseWriter, r *s3Request) *s3Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	marker, refusal := s.delete(r.key, r.URL.Query().Get("versionId"), bypass(r))
	if refusal != nil {
		return refusal
	}
	if marker != "" {
		w.Header().Set("X-Amz-Delete-Marker", "true")
		w.Header().Set("X-Amz-Version-Id", marker)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// delete removes a version, or without one the object, in whose place a bucket with versions puts a marker. The caller
// holds s.mu.
func (s *S3) delete(key, id string, bypass bool) (marker string, refusal *s3Error) {
	switch {
	case id != "":
		i := slices.IndexFunc(s.versions[key], func(o *s3Object) bool { return o.version == id })
		if i < 0 {
			return "", nil
		}
		if refusal := s.locked(s.versions[key][i], bypass); refusal != nil {
			return "", refusal
		}
		s.versions[key] = slices.Delete(s.versions[key], i, i+1)
		if n := len(s.versions[key]); n > 0 && !s.versions[key][n-1].marker {
			s.current.put(key, s.versions[key][n-1])
		} else {
			s.current.remove(key)
		}
		return "", nil
	case s.opts.Versions:
		return s.store(key, s3Object{marker: true}).version, nil
	}
	delete(s.versions, key)
	s.current.remove(key)
	return "", nil
}

func (s *S3) deleteObjects(w http.ResponseWriter, r *s3Request) *s3Error {
	switch {
	case s.opts.NoBulkDelete:
		return s3Refuse(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented")
	case r.Header.Get("Content-Md5") == "" && (s.opts.WantsMD5 || r.Header.Get("X-Amz-Checksum-Crc32") == ""):
		return s3Refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: Content-MD5")
	}
	var list struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []struct{ Key, VersionId string }
	}
	if refusal := s.readXML(r, &list); refusal != nil {
		return refusal
	}
	if len(list.Object) == 0 || len(list.Object) > 1000 {
		return s3Refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	type deleted struct {
		Key                   string
		DeleteMarker          bool   `xml:",omitempty"`
		DeleteMarkerVersionId string `xml:",omitempty"`
	}
	type failed struct{ Key, Code, Message string }
	result := struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Deleted []deleted
		Error   []failed
	}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range list.Object {
		marker, refusal := "", s3Refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
		if !s.denied[s3DeniedKey+o.Key] {
			marker, refusal = s.delete(o.Key, o.VersionId, bypass(r))
		}
		switch {
		case refusal != nil:
			result.Error = append(result.Error, failed{o.Key, refusal.code, refusal.message})
		case !list.Quiet:
			result.Deleted = append(result.Deleted, deleted{o.Key, marker != "", marker})
		}
	}
	answerXML(w, result)
	return nil
}

type s3Retention struct {
	XMLName         xml.Name `xml:"Retention"`
	Mode            string
	RetainUntilDate string
}

func (s *S3) getRetention(w http.ResponseWriter, r *s3Request) *s3Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, refusal := s.find(r)
	if refusal != nil {
		return refusal
	}
	if o.mode == "" {
		return s3Refuse(http.StatusNotFound, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
	}
	answerXML(w, s3Retention{Mode: o.mode, RetainUntilDate: s3Time(o.until)})
	return nil
}

func (s *S3) putRetention(_ http.ResponseWriter, r *s3Request) *s3Error {
	var want s3Retention
	if refusal := s.readXML(r, &want); refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, refusal := s.find(r)
	if refusal != nil {
		return refusal
	}
	if !s.opts.Lock {
		return s3Refuse(http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
	}
	changed := *o
	if refusal := s.retention(&changed, want.Mode, want.RetainUntilDate); refusal != nil {
		return refusal
	}
	if weaker := changed.until.Before(o.until) || o.mode == "COMPLIANCE" && changed.mode != o.mode; weaker && o.until.After(s.Now()) && (o.mode == "COMPLIANCE" || !bypass(r)) {
		return s3Refuse(http.StatusForbidden, "AccessDenied", "Access Denied because object protected by object lock.")
	}
	o.mode, o.until = changed.mode, changed.until
	return nil
}

func (s *S3) putLegalHold(_ http.ResponseWriter, r *s3Request) *s3Error {
	var want struct {
		XMLName xml.Name `xml:"LegalHold"`
		Status  string
	}
	if refusal := s.readXML(r, &want); refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, refusal := s.find(r)
	switch {
	case refusal != nil:
		return refusal
	case !s.opts.Lock:
		return s3Refuse(http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
	case want.Status != "ON" && want.Status != "OFF":
		return s3Refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	o.hold = want.Status == "ON"
	return nil
}

func (s *S3) restoreObject(w http.ResponseWriter, r *s3Request) *s3Error {
	var want struct {
		XMLName              xml.Name `xml:"RestoreRequest"`
		Days                 int
		GlacierJobParameters struct{ Tier string }
	}
	if refusal := s.readXML(r, &want); refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, refusal := s.find(r)
	switch {
	case refusal != nil:
		return refusal
	case o.class != "GLACIER" && o.class != "DEEP_ARCHIVE":
		return s3Refuse(http.StatusForbidden, "InvalidObjectState", "Restore is not allowed for the object's current storage class")
	case want.Days < 1 || !slices.Contains([]string{"Standard", "Bulk", "Expedited"}, want.GlacierJobParameters.Tier):
		return s3Refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	case o.restore == "pending":
		return s3Refuse(http.StatusConflict, "RestoreAlreadyInProgress", "Object restore is already in progress")
	case o.restore == "done":
		o.restoreTo = s.Now().AddDate(0, 0, want.Days)
		return nil
	}
	o.restore = "pending"
	w.WriteHeader(http.StatusAccepted)
	return nil
}
