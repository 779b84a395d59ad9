// Package smtptest provides SMTP and LMTP servers for tests, on the loopback and in the shape of net/http/httptest.
//
// # A server that works
//
// [NewServer] starts a submission server with TLS or STARTTLS and a certificate of its own, one user, PIPELINING,
// CHUNKING, BINARYMIME and more. It delivers nothing; it keeps what it took, octet for octet:
//
//	srv := smtptest.NewServer(t, nil)
//	conn, err := smtpclient.Open(srv.Config(), nil)
//	// ... let the program under test work ...
//	got := srv.Messages()
//
// [Listen] starts the same server outside tests.
//
// # A server with troubles
//
// [Server.Refuse] refuses recipients. [Server.Fail] refuses commands, [Server.Stall] leaves them unanswered,
// [Server.Drop] closes the connection instead of obeying and [Server.LoseReply] after obeying: at [End] that is the
// message that was taken and nobody told. [Server.Inject] sends what a server should not. [Server.CutAfter] cuts a
// connection after any octet. [Server.Commands] has every command that was received, also to prove what was not sent.
//
// # A server that follows a script
//
// [NewScript] is for what no sane server does: octets, line by line, in the order of the test.
//
//	srv := smtptest.NewScript(t, nil, smtptest.Script{
//		smtptest.Send("220 hello"),
//		smtptest.Expect("EHLO"),
//		smtptest.Send("250-hello", "250 pipelining"),
//		smtptest.Expect("MAIL FROM"),
//		smtptest.Cut(),
//	})
//
// # Why this is not built on a server library
//
// A double has to show what a client really sends, octet for octet, and to say what no library lets a server say.
package smtptest
