// Package pop3client is the driver for mail on POP3 servers (RFC 1939): a journal account that is emptied as it is
// archived, an account whose mail stays on the server, or an import. A [Conn] is a [connection.Source], a
// [connection.Opener] and a [connection.MailboxSyncer].
//
//	src, err := pop3client.Open(pop3client.Journal("mail.example.org", "journal", password), nil)
//
// # What a POP3 mailbox is
//
// One folder without flags and without arrival times, seen as a snapshot: mail that comes later appears in the next
// session only, so Follow connects again for each look. Servers let one session in at a time. All verbs of a Conn
// therefore share one session by turns; messages are read ahead into a few MiB of memory, large ones into a temporary
// file, so that Delete may be called at any time.
//
// # Deletion
//
// DELE marks a message, and only QUIT removes what is marked; a connection that breaks before removes nothing
// (RFC 1939, 6). A Delete that returned nil is kept in mind until a QUIT was answered: what is still there in the next
// session is marked again and not fetched again. See [Conn.Delete] and Config.ExpungeEvery for when QUIT is sent. The
// mind does not outlive the process: after a crash such messages come again, and no mail is lost.
//
// A server that says EXPIRE 0 may delete at QUIT whatever was read (RFC 2449, 6.7), and Gmail, which says so, hides it
// from then on. There a session ends without QUIT as long as it holds a message that was read and not deleted by Delete,
// or with delete_mode none, that the host was not done with: the loop over Fetch or Sync was left at it or before.
//
// # Leaving mail on the server
//
// [connection.Mirror] over a Conn fetches what is new, at each start of a program and at each interval, and nothing
// twice: its Checkpoint says which messages were stored. See [Conn.Sync]. A host that has an index of its own may use
// Fetch or Drain with DrainOptions.Keep instead, and answer FetchOptions.Skip from it.
//
// # Identity
//
// Ref.ID is the UIDL. Without UIDL it is "h:" and a hash over header and size; of several messages with one UIDL in one
// listing the further ones get "#2", "#3"…; a UIDL that is no UTF-8 is "x:" and its octets in hexadecimal. Message
// numbers are never kept beyond their session. Where a UIDL may be given to another message (it is the message number,
// or several have it) the header is compared before a message counts as the one that was read.
package pop3client
