// Package imapclient is the mail source "imap": a journal mailbox that is emptied continuously, or accounts that are
// imported, over IMAP4rev1 or IMAP4rev2 (RFC 3501, RFC 9051).
//
// # What it promises
//
// Messages are streamed octet for octet and never marked \Seen. One leaves the server only through [Conn.Delete], by
// UID, under the UIDVALIDITY it was read with, in the way that delete_mode says; the default is to remove nothing. A
// message that ends early, that arrives as NIL, or that the server forgets to send is never taken for a short or empty
// one: it is asked for again, singly, and reported with its Ref if it cannot be had.
//
// # How it works
//
// A [Conn] dials when a verb needs it and keeps its sessions for the next one. Fetch has a session of its own that
// reads ahead while the caller works; Delete uses a second one, so that it may be called from within the loop. If the
// server allows one session only, messages are spooled and the two take turns. A session that dies is replaced, after a
// wait that grows, and Fetch goes on with the messages it has not yielded yet.
//
// [Conn.Sync] tells the history of a mailbox instead, for [connection.Mirror]: what is new, has other flags, is gone, in
// which folder. Its Checkpoint holds all it has to know. [Conn.Append] puts messages back. With Config.Mailboxes one
// login opens the mailboxes of others, each with sessions of its own; Ref.Mailbox then says whose message it is.
//
// It logs in by the best mechanism that the server offers and the settings have something for: client certificate, token
// ([OAuth2], or Env.Token), SCRAM, NTLM, CRAM-MD5, PLAIN, LOGIN. Without TLS it sends nothing that a listener could use,
// unless allow_plaintext_auth is set. [Conn.Test] says which mechanism was used, and why the others were not.
//
// Round trips cost most, so one command asks for all that waits (up to 5,000 messages), while each is handed over as it
// comes and only a few MiB are read ahead. It asks for messages_per_cycle at a time where a session is shared, and where
// a server has forgotten or refused something.
//
// Everything from the server passes a guard that limits lines, literals and nesting and repairs what is known to kill
// the protocol library above it. Small bodies come from the guard itself, all else through the library.
package imapclient
