// Package mailconn is the front door of a library for programs that archive mail. It holds nothing but this tour: the code is in the
// packages named below.
//
// # Get mail out of a server without losing any
//
// Open a source ([github.com/mailconn/mailconn/imapclient], [github.com/mailconn/mailconn/pop3client],
// [github.com/mailconn/mailconn/ews], [github.com/mailconn/mailconn/maildir]) and give it to
// [github.com/mailconn/mailconn/connection.Drain] with a function that stores one message and returns nil only when it is
// on stable storage. Drain fetches, stores, and only then deletes; it bears cut connections, bad messages, outages of the
// store, and being killed. The program examples/archive does just that.
//
// # Send archived mail again
//
// [github.com/mailconn/mailconn/smtpclient] submits a message byte for byte and says of each recipient whether it was sent,
// refused, or whether that cannot be known. The program examples/replay does so from an archive.
//
// # Keep many mailboxes in step
//
// [github.com/mailconn/mailconn/connection.Mirror] runs the Sync of many mailboxes with a pool of workers and saves a
// checkpoint only after everything up to it is stored. [github.com/mailconn/mailconn/ews] opens every mailbox of an Exchange
// server through one account; the program examples/ewssync mirrors them. [github.com/mailconn/mailconn/gmail] does so for
// a Google Workspace domain, within Google's quotas; examples/gmailsync is its program.
// [github.com/mailconn/mailconn/connection/journal] takes Exchange's journal reports apart.
//
// # Keep what was fetched
//
// [github.com/mailconn/mailconn/objectstore/filestore] is an object store in a directory: durable, all or nothing, safe for
// several processes. The engines of cloud providers follow the same interface,
// [github.com/mailconn/mailconn/connection.ObjectStore]: objectstore/s3, azureblob, swift, b2 and atmos. Each program links
// only those that it imports. What they share, and what each can do, says [github.com/mailconn/mailconn/objectstore]; the
// program examples/volume shows it.
//
// # Let a host configure connections
//
// [github.com/mailconn/mailconn/connection.Settings] are what a host stores for each connection, as JSON;
// [github.com/mailconn/mailconn/connection/alldrivers] opens them; [github.com/mailconn/mailconn/connection/schema]
// describes each driver's settings as JSON Schema, for a form, and Connection.Test tells an administrator which setting is
// wrong and what to do.
//
// # Test your own product
//
// [github.com/mailconn/mailconn/imapclient/imaptest] is an IMAP server on loopback that keeps octets exactly and fails on
// command; pop3client/pop3test and smtpclient/smtptest are the same for POP3 and SMTP, ews/ewstest for Exchange,
// gmail/gmailtest for Google, objectstore/objecttest for S3, Azure, Swift, B2 and Atmos. [github.com/mailconn/mailconn/connection/connectiontest] has
// in-memory doubles, network faults, a corpus of difficult messages, and a conformance suite for drivers.
//
// # Look at what happens
//
// Give connection.Env a Logger (slog), and an Observe function for events. At connection.LevelTrace the logger receives the
// protocol, without passwords and without mail. [github.com/mailconn/mailconn/connection/otelconn] makes OpenTelemetry
// metrics and traces of the events.
package mailconn
