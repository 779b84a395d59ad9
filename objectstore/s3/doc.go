// Package s3 stores objects with Amazon S3, MinIO, DigitalOcean Spaces and every other store that speaks the S3 protocol
// with signatures of version 4.
//
//	c, err := s3.Open(s3.Config{Settings: objectstore.Settings{
//		Location: "https://ams3.digitaloceanspaces.com", Bucket: "archive", Identity: accessKey, Credential: secretKey,
//	}}, nil)
//
// # Where the bucket is
//
// Location is a region of Amazon's ("eu-central-1"), a host or a URL; without a scheme it is https. A bucket in front of
// the host or behind it is left out of it: with it, objects would silently go to a key that begins with the bucket's name.
// The region that signatures are for comes from the host, else from Region. If the server says that it is another one, the
// request is made there and the region remembered. A temporary redirect is followed once, to the same host, or between
// Amazon's.
//
// Keys that change, of a role or a profile, come from Config.Keys, which is a program's to set: this package reads neither
// the environment nor Amazon's files.
//
// # Integrity
//
// Every put and part carries a digest that the server checks before anything becomes visible: over TLS Content-MD5, over
// plain HTTP the SHA-256 that its signature is for, unless unsigned_payload is "always". The object's SHA-256 is kept with it
// in the metadata "mailconn-sha256" and checked when it is read. ETags are never taken for an MD5: those of parts and of encrypted objects are none.
//
// # Put if absent
//
// The condition is If-None-Match, on a copy and on an object in parts that of CompleteMultipartUpload. Servers that do not
// know it overwrite without a word. Therefore the first such put of a connection to another server than Amazon's looks
// first, and then makes its request twice: the second one must be refused. A server that fails this has no put-if-absent
// from then on: ErrUnsupported, or a look before each put with emulate_if_absent. For objects in parts that says nothing:
// until a server has refused a CompleteMultipartUpload, it looks right before each one, and only a writer that comes
// between the two requests can be overwritten where the condition is ignored.
//
// # Locks and versions
//
// Retention and legal hold need a bucket with object lock, whose mode is retention_mode. The server keeps a locked version
// whatever happens, but lets a put write a newer one over it and a delete hide it. Put, Copy and Delete therefore look
// first in such a bucket, and say ErrLocked; whether the bucket is one is asked once in five minutes. In a bucket with
// versions Delete only writes a marker, and tells so by connection.EventMarker.
//
// # What servers lack
//
// Unfinished uploads cost room until they are aborted: Test counts them. A server without DeleteObjects is asked for one
// key after the other. Signatures of version 2, which some old Ceph and Atmos heads want, are not supported.
package s3
