// Package connection is the vocabulary of mailconn: what a connection to a mail system or an object store is, what it can
// do, and how a program moves mail through it without losing a message. It imports nothing but the standard library.
//
// # Reading this package
//
// A [Connection] is opened from [Settings] by a [Registry] of drivers, or by a driver package's own Open. What it can do is
// an interface of one verb each, found with [As]: [Fetcher], [Deleter], [Syncer], [Sender], [Appender], [Putter],
// [Getter] and some more. Two functions put them to work: [Drain] empties a mailbox into a [Sink], and [Mirror] keeps many
// mailboxes in step with a [ChangeSink].
//
// # The promises
//
// Every driver of this module keeps them, and package connectiontest checks them for any driver:
//
//  1. Durable before delete. A message leaves its source only through Delete, and Drain deletes only what its sink has
//     stored. No driver deletes, expunges or marks \Seen on its own. Delivery is at least once: sinks bear duplicates.
//  2. Whole or an error. A Body ends in io.EOF only if every octet that the source holds was read. A cut connection is an
//     error, never a short message.
//  3. One bad message does not stop the rest. An [*Error] with a Ref concerns one message, or one folder if the Ref has no
//     ID, and the loop may go on; any other error is the last.
//  4. Unknown is not failed. If the server may have acted, the error is [ErrUncertain], and nothing repeats it by itself.
//  5. Put is all or nothing.
//  6. The context ends everything soon, with ctx.Err() in the chain and no goroutine left. Timeouts are for no progress,
//     not totals; 0 means none.
//  7. Memory is bounded, whatever the size of message and mailbox and the honesty of the server.
//  8. Open does no I/O. Test walks the real code path and says which setting is at fault.
//  9. Secrets never print. See [Secret].
//  10. TLS verifies in every TLS mode. See [Mode]. Without TLS anybody on the path can change the mail that is archived:
//     nothing but TLS protects it in transit.
//  11. Bytes stay bytes. No driver parses, repairs or re-encodes a message on its way.
//  12. Checkpoints only move forward over stored changes.
//
// # Errors
//
// Every error that leaves a driver is an [*Error] with a [Kind], and the kinds are the sentinels:
//
//	if errors.Is(err, connection.ErrNotFound) { … }
//
// [Temporary] says whether trying again may help, [RetryAfter] how long the server asks to wait, and Error.Hint names the
// setting that is at fault.
//
// # Writing a driver
//
// Export a Config of plain JSON-tagged data that embeds [Identity], and [NetworkSettings] if it speaks to a mail server; a
// function Open(Config, *Env) (*Conn, error) that does no I/O; and a function Driver that returns [NewDriver] of both. Then
// let connectiontest.Run tell what is missing.
//
// # Where this differs from the first design
//
// Event is a struct with a kind rather than a type for each, so that hosts can store and count events that they do not
// know. ChangeSink is an interface, since Mirror has to ask the sink what it has. Locker has one method for retention and
// legal hold. Error carries a Hint, so that a failed verb names the setting at fault just as a failed Test step does. The
// fields that drivers share are exported types ([NetworkSettings], [TLSSettings], [Identity]), so that a Config can be
// written as a Go literal.
package connection
