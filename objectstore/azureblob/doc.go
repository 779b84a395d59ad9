// Package azureblob stores objects with Azure Blob Storage, as block blobs of one container.
//
//	c, err := azureblob.Open(azureblob.Config{Settings: objectstore.Settings{
//		Identity: "archiva", Credential: accountKey, Location: "azureblob", Bucket: "mail",
//	}}, nil)
//
// # Where the container is
//
// Identity is the name of the storage account, which is also the first word of its host. Location is "azureblob" or empty for
// Azure's public cloud, "AzureChinaCloud" or "AzureUSGovernment", or a URL: of a private endpoint, of a domain of one's own,
// or of an emulator, which has the account in the path (http://127.0.0.1:10000/devstoreaccount1). A container at the end of
// the URL is left out of it. A URL that holds a user name or a shared access signature is refused. Requests are signed with
// an account key, over HTTP and HTTPS.
//
// # Integrity
//
// Every put and block carries Content-MD5, which the service checks before anything becomes visible. The object's SHA-256 is
// kept with it in the metadata "mailconn_sha256" and checked when it is read; listings tell it too. The MD5 of the whole is
// stored as the blob's own, also of one in blocks, for other programs.
//
// Names of metadata are identifiers of C# with the service, and HTTP does not keep their case: what is no lower-case letter
// or digit is written as an underscore and its code in hexadecimal. Values that no header holds are written in the manner of
// RFC 2047. Content types must be ASCII.
//
// # Large objects
//
// Above single_put_limit an object goes in blocks and is committed in the end, with the condition of a put-if-absent, which
// is asked for before the first block too. Blocks that were never committed cost room: Incomplete lists them by the object's
// name, and AbortIncomplete removes them, under a condition that no finished object meets. Blocks beside an object that
// exists already can be neither listed at once nor removed without writing it anew: the service forgets them after a week.
// Of two uploads to the same key at the same time, the one that is committed later may find its blocks gone; it then fails
// with ErrNotFound or ErrExists, and can be repeated.
//
// # Tiers
//
// A class is Hot, Cool, Cold or Archive. What is in the archive tier can be neither read nor overwritten: ErrArchived. Restore
// moves it to rehydrate_tier, for good, whatever time it is asked for; Stat and List tell how far that is. A rule of the account
// may archive it again.
//
// # Locks and versions
//
// Retention and legal hold of single objects need a container with version-level immutability; elsewhere they are
// ErrUnsupported before anything is sent. The mode governance is an unlocked policy, compliance a locked one. The service would
// let a put write a new version over a locked object, and a delete hide it. Put, Copy and Delete therefore look first in such
// a container, and say ErrLocked; whether the container is one is asked once in five minutes. A policy of the whole container
// is the service's to enforce, and is ErrLocked as well. Where the account keeps versions or what was deleted, Delete only
// hides an object, and tells so by connection.EventMarker. Snapshots of an object are deleted with it.
//
// # Copies
//
// A copy inside the account to a key that holds nothing is Copy Blob, which the service may do in the background: until it is
// done dst is empty, and if it fails dst is removed again. Over an object that is there, with another content type or with an
// encryption scope, the copy is made of blocks: dst is what it was until the copy is whole.
//
// # Signed URLs
//
// Presign makes a shared access signature for one blob. Whoever puts by it must send the header x-ms-blob-type: BlockBlob.
// Changing the account's key makes all of them invalid.
package azureblob
