// Package atmos keeps objects in EMC Atmos, and in what speaks its REST interface since.
//
//	c, err := atmos.Open(atmos.Config{Settings: objectstore.Settings{
//		Identity: "subtenant/user", Credential: connection.NewSecret(secret), Location: "https://atmos.example.org:10080", Bucket: "archive",
//	}}, nil)
//
// Atmos 2.1 and later, and its successor ECS, speak S3 as well: package s3 is the better road to those, since Atmos has
// neither parts nor copies nor listings in order.
//
// # How objects lie there
//
// The engine uses the namespace interface. Bucket is a directory at the top, which must exist; a key is the path of a file
// below it. Of a key only letters, digits, '-', '_' and '.' go into the path as they are, since clients and servers do not
// agree on how other characters are signed; each other octet becomes ~XX. Where a path is a directory, the object of that key
// is in the file a~ beside it; which of two puts with IfAbsent wins is then left to chance once, when the directory is made.
//
// Put writes a file in the directory .mailconn-tmp and renames it, which replaces what was there; what a broken Put left in
// that directory is what Incomplete lists. Some servers finish a replacement in the background: Put then waits until it
// can be seen.
//
// List has to read a directory whole to sort it. With prefixes that are directories of some thousand objects that is
// cheap; a single directory needs memory for all its names, and more than a million are ErrTooLarge.
//
// # Integrity and retention
//
// The server gets the MD5 of each body (x-emc-wschecksum), and the SHA-256 is kept as metadata and verified by each full
// Get. A retention is the metadata user.maui.retentionEnd, for which the policy of the server must enable retention: Lock,
// and PutOptions.Lock for new keys, ask whether it does, and are ErrUnsupported otherwise. One that the server sets by a rule
// of its own (x-emc-retention-period) is obeyed too. There is no legal hold.
//
// # What it was tested with
//
// With a fake that follows EMC's published clients (objecttest.Atmos). No Atmos server was at hand.
package atmos
