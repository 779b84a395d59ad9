// Package objectstore holds what all object-store engines share: the settings of a store, the rules for keys and
// metadata, and the layers that make one-attempt requests reliable.
//
// # For programs that store mail
//
// Use an engine's package, filestore for one, or any driver through a connection.Registry. [CheckKey] tells beforehand
// whether a key will do on every engine.
//
// # For writers of engines
//
// Write a [Backend], which does one attempt of one request and no more, and embed the [Store] that [New] makes of it.
// The Store checks keys, counts and hashes what is put, makes bodies that cannot seek re-readable, repeats what may be
// repeated, resumes reads that were cut, verifies digests, ends what makes no progress, and decides by Stat what
// became of a put whose reply was lost.
package objectstore
