// Package swift keeps objects in OpenStack Object Storage (Swift), in stores that speak its protocol, Ceph for one, and in
// Rackspace Cloud Files.
//
//	c, err := swift.Open(swift.Config{Settings: objectstore.Settings{
//		Location: "https://keystone.example.org:5000/v3", Identity: "mail:archiver", Credential: connection.NewSecret(password), Bucket: "archive",
//	}}, nil)
//
// # Logging in
//
// The version of the identity protocol is that in Location: 1 (TempAuth, Ceph), 2.0 or 3 (Keystone). A credential that was
// refused is not sent again for ten minutes, except by Test, since services lock users out who try too often. With version
// 2.0 a credential may be a password or an API key; the likelier form is tried first, and the other only after a refusal:
// Config.Auth decides it beforehand. A token that expires is replaced without anybody noticing.
//
// # What is special
//
// Objects of more than single_put_limit octets are static large objects: their parts lie in a container of their own,
// Config.SegmentContainer, below mailconn/, and belong to one object each. They go when their object is deleted or replaced
// through this package; what stays behind when a process dies, or when other programs delete or replace the object, is
// listed by Incomplete. Only the object that they were put for counts as using them, so do not copy manifests to other keys.
//
// The server decides whether a key is taken when a put begins. Two puts with IfAbsent that overlap may both succeed, and
// the later one then stays: as with keys made of the content's digest, both must be the same.
//
// Metadata of lower-case names and short ASCII values are X-Object-Meta headers, as other programs see them; everything else
// is packed into headers X-Object-Meta-Mailconn-Pack-N. Object times are whole seconds. Listings lag behind writes.
//
// There is no retention, no legal hold and no storage class for an object: those options are ErrUnsupported.
package swift
