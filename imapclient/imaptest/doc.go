// Package imaptest provides IMAP servers for tests, on the loopback and in the shape of net/http/httptest.
//
// # A server that works
//
// [NewServer] starts a server that speaks IMAP4rev1 (RFC 3501) with UIDPLUS, MOVE, IDLE, CONDSTORE, COMPRESS and more,
// TLS or STARTTLS with a certificate of its own, and one user. [Capabilities] has all of them, and Options.Without
// switches each off. It keeps every octet of a message as it came:
//
//	srv := imaptest.NewServer(t, nil)
//	srv.Deliver(raw1, raw2)
//	conn, err := imapclient.Open(srv.Config(), nil)
//	// ... let the program under test work ...
//	left := srv.Messages()
//
// [Listen] starts the same server outside tests.
//
// # A server with troubles
//
// [Server.Fail] refuses commands, [Server.Stall] leaves them unanswered, [Server.Drop] closes the connection instead
// of obeying, [Server.LoseReply] after obeying, and [Server.Bye] says BYE in between. [Server.CutAfter] cuts a connection after any octet; [Server.Sent]
// tells how many a whole session has, so that a loop can try each. [Server.BumpUIDValidity], [Server.LowerModSeq],
// [Server.Delete] and [Server.SetFlags] do what other clients and administrators do meanwhile. [Quirks] are the habits of well-known
// servers. [Server.Transcript] has every command that was received, also to prove what was not sent.
//
// # A server that follows a script
//
// [NewScript] is for what no sane server does: octets, line by line, in the order of the test.
//
//	srv := imaptest.NewScript(t, nil, imaptest.Script{
//		imaptest.Send("* OK [CAPABILITY IMAP4rev1] hello"),
//		imaptest.Expect("LOGIN"),
//		imaptest.Send("* BAD what?", "$TAG OK [ALERT] well"),
//		imaptest.Expect("SELECT INBOX"),
//		imaptest.Cut(),
//	})
//
// [Replay] plays a script that is kept as a text file. The folder testdata/brands has such files of well-known servers:
// Microsoft 365, Gmail, iCloud and others.
//
//	srv := imaptest.Replay(t, nil, os.DirFS("testdata/brands"), "microsoft365.txt")
//
// # What it is not
//
// The server keeps no \Recent flag, tells no body structures and knows no parts of a message. Messages live in memory.
package imaptest
