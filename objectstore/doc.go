// Package objectstore holds what all object-store engines share: the settings of a store, the rules for keys and
// metadata, and the layers that make one-attempt requests reliable.
//
// # For programs that store mail
//
// Use an engine's package, filestore for one, or any driver through a connection.Registry. [CheckKey] tells beforehand
// whether a key will do on every engine.
//
// # What the engines can do
//
// What an engine cannot do is ErrUnsupported before any octet is sent. Buckets and servers differ: Capabilities of an
// engine's Conn tells what is known, and Test finds out more.
//
//	                     absent   meta     class    lock     parts    bulk     copy     restore  presign  remains
//	s3                   yes      yes      yes      yes      yes      yes      yes      yes      yes      yes
//	b2                   -        yes      -        yes      yes      -        yes      -        yes      yes
//	azureblob            yes      yes      yes      yes      yes      -        yes      yes      yes      yes
//	swift                yes      yes      -        -        yes      yes      yes      -        yes      yes
//	rackspace-cloudfiles yes      yes      -        -        yes      yes      yes      -        yes      yes
//	atmos                yes      yes      -        yes      -        -        -        -        yes      yes
//	file                 yes      yes      -        yes      -        -        -        -        -        yes
//
// absent: put if absent, decided by the server. meta: names, values and a content type kept with the object. class: storage
// classes or tiers. lock: retention and legal hold. parts: large objects in parts, several at a time. bulk: many keys
// deleted by one request. copy: inside the store. restore: from a cold tier. presign: URLs that work without credentials.
// remains: what unfinished writes left behind can be listed and removed.
//
// # Memory
//
// A put whose reader cannot seek keeps up to Tuning.SinglePutLimit octets in memory and the rest in a temporary file: so
// its digest is known before the first octet is sent, it is stored with the object, and every part can be sent again. A
// reader that is an io.ReaderAt besides, as a file is, is read where it lies; of one that can only seek, all puts of a
// connection together hold Tuning.PartWorkers parts of Tuning.PartSize octets.
//
// # For writers of engines
//
// Write a [Backend], which does one attempt of one request and no more, and embed the [Store] that [New] makes of it.
// The Store checks keys, counts and hashes what is put, makes bodies that cannot seek re-readable, repeats what may be
// repeated, resumes reads that were cut, verifies digests, ends what makes no progress, and decides by Stat what
// became of a put whose reply was lost.
package objectstore
