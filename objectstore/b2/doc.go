// Package b2 keeps objects in Backblaze B2, by its native API.
//
//	c, err := b2.Open(b2.Config{Settings: objectstore.Settings{
//		Identity: keyID, Credential: connection.NewSecret(applicationKey), Bucket: "4a48fe8875c6214145260818",
//	}}, nil)
//
// Bucket is the bucket's ID or its name; Location is needed for tests only. Backblaze also speaks S3: with package s3 and
// https://s3.<region>.backblazeb2.com a bucket has a conditional put, which the native API lacks.
//
// # What is special
//
// Put with IfAbsent is ErrUnsupported, unless emulate_if_absent is set. Every Put makes a new version of the file; older
// ones stay, and are paid for, until the bucket's lifecycle rules or Delete remove them. Delete removes all versions. If the
// application key may not, it hides the file instead, and an EventMarker tells so.
//
// The server checks the SHA-1 of each request; our SHA-256 is kept as file information and verified by each full Get. An
// object's ETag is the ID of its file. Large objects go in parts, of which B2 wants at least two: so a part_size
// above single_put_limit counts as that.
//
// Up to seven names of metadata in lower case are stored as file information of the same names, which other programs can
// read; what does not fit that is packed into one. A key may have 250 octets between two slashes, less than elsewhere.
//
// PutOptions.Lock and Lock need a bucket with file lock, and the mode is the setting retention_mode. Before they replace
// something in such a bucket, Put, Copy and Delete look whether it is locked: the server would put a new version, or a
// marker, over it.
//
// A presigned URL also opens keys that begin with its own.
//
// # How it uses blazer
//
// Package base of github.com/Backblaze/blazer makes one attempt a call, as an engine must, but forgets most of what the
// server says. A fence below it (fence.go) keeps answers and errors, bounds what is read, adds what base cannot say
// (retention, encryption), and keeps tokens out of the log that B2_LOG_LEVEL switches on. Calls that base lacks go
// directly.
package b2
