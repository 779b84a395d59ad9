// Package pop3test provides POP3 servers for tests, on the loopback and in the shape of net/http/httptest.
//
// # A server that works
//
// [NewServer] starts a server that speaks POP3 (RFC 1939) with CAPA, STLS, SASL, APOP, UIDL, TOP, PIPELINING and
// response codes, TLS from the first octet or STLS with a certificate of its own, and one user. One session at a time
// holds the maildrop and sees it as it was when it began; DELE marks, QUIT removes. Every octet of a message is kept as
// it came; only a last line without CRLF gets one on the wire:
//
//	srv := pop3test.NewServer(t, nil)
//	srv.Deliver(raw1, raw2)
//	conn, err := pop3client.Open(srv.Config(), nil)
//	// ... let the program under test work ...
//	left := srv.Messages()
//
// [Listen] starts the same server outside tests.
//
// # A server with troubles
//
// [Server.Fail] refuses commands, [Server.Stall] leaves them unanswered, [Server.Drop] closes the connection instead of
// obeying and [Server.LoseReply] after obeying. [Server.CutAfter] cuts a connection after any octet; [Server.Sent] tells
// how many a whole session has, so that a loop can try each. [Server.Remove] does what another client does meanwhile.
// [Quirks] are the habits of well-known servers. [Server.Transcript] has every command that was received, also to prove
// what was not sent.
//
// # A server that follows a script
//
// [NewScript] is for what no sane server does: octets, line by line, in the order of the test.
//
//	srv := pop3test.NewScript(t, nil, pop3test.Script{
//		pop3test.Send("+OK hello"),
//		pop3test.Expect("CAPA"),
//		pop3test.Send("-ERR what?"),
//		pop3test.Expect("USER"),
//		pop3test.Cut(),
//	})
package pop3test
