// Package smtpclient is the driver for sending mail through an SMTP submission server (RFC 6409, RFC 5321), or handing
// it to an LMTP server (RFC 2033): notifications, the replay of archived messages octet for octet, mail in the name of
// others. A [Conn] is a [connection.Sender].
//
//	out, err := smtpclient.Open(smtpclient.Config{…}, nil)
//	receipt, err := out.Send(ctx, connection.Envelope{From: "ann@example.org", To: []string{"auditor@example.org"}}, body, nil)
//
// The server of the settings is the one that is spoken to; MX records are not asked for.
//
// # What is known after a Send
//
//   - nil: the server has taken responsibility for every recipient of Receipt.Accepted. Those of Receipt.Rejected were
//     refused, each with its own error.
//   - ErrUncertain: the message was sent whole, and the reply to it was lost. The server may have it or not. Nothing
//     repeats it: sending it again may make a duplicate, which is for the host or a person to decide.
//   - any other error: the server does not have the message. [connection.Temporary] says whether to try again later;
//     the queue is the host's.
//
// By itself a Conn tries again only where no octet of the message was given to a server that could act on it: when a
// connection that was kept for reuse turns out to be dead, and when a server offers BDAT and does not know it.
//
// # Octets
//
// With BDAT (RFC 3030), which is used where the server offers CHUNKING, the octets that arrive are those that were given.
// DATA cannot carry all of them: bare LF becomes CRLF, a last line without an end gets one, a bare CR is refused (or
// changed, see Config.BareCR), NUL is refused. What was changed is in Receipt.Rewritten. The server itself adds trace
// fields, and may change what it does not like.
//
// send_strategy new-message-id replaces the Message-ID field, because Exchange and others drop a message whose
// Message-ID they have seen, and keeps the old value in X-Original-Message-ID; see [Config]. No other octet changes. A
// DKIM signature that covers Message-ID becomes invalid by it.
//
// # Smuggling
//
// What ends a message early at one server and not at another lets a hostile mail carry commands ("SMTP smuggling"). Over
// DATA no bare CR and no bare LF leaves this package, and every line that begins with a dot is stuffed, so that CRLF . CRLF
// occurs once, at the end. BDAT counts octets; before anything else is sent by it, a server must prove with a chunk of one
// octet that it counts too. Addresses that hold CR, LF, NUL, spaces or angle brackets are refused, not quoted.
//
// # Speed
//
// A Conn keeps up to Config.PoolSize connections. Where the server offers PIPELINING, the commands of one message go out
// in one piece, and if another Send waits for the connection, its commands ride behind this message's last octets: then
// each message costs one round trip. At most one message's content is under way on a connection, so that at most one is
// uncertain when the connection breaks.
//
// # Why this is not built on emersion/go-smtp
//
// That client has no context and no deadline while it writes DATA, neither PIPELINING nor CHUNKING, keeps EHLO keywords
// in the case they came in, and writes DATA octet by octet. Of what is left, the text of the commands, little would
// remain in use.
package smtpclient
