// Package journal opens Exchange journal reports: it gives the message that a report carries, octet for octet, and the
// envelope that the report tells, with the Bcc recipients and the members of distribution lists that the message's own
// header does not show.
//
// # What a report is
//
// A server that journals does not copy a message into the journal mailbox: it sends a report there, a message of its own
// with a few lines of text and the journaled message attached ([MS-XJRNL] describes it):
//
//	X-MS-Journal-Report:
//	Content-Type: multipart/mixed; boundary="b"
//
//	--b
//	Content-Type: text/plain; charset="utf-8"
//
//	Sender: ann@example.org
//	Subject: lunch
//	Message-ID: <1@example.org>
//	To: bob@example.org, Expanded: team@example.org
//	Bcc: chief@example.org
//	--b
//	Content-Type: message/rfc822
//
//	From: Ann …
//
// Exchange 2003 marks its reports with Content-Identifier (which it misspells) instead, and lists the recipients on lines of
// their own below "Recipients:". [Unwrap] understands the reports of Exchange 2003 to 2019, Subscription Edition and
// Exchange Online, however they reach a mailbox: by IMAP, POP3 or EWS.
//
// # Archiving a journal mailbox
//
// Drivers deliver reports as they are. A host puts Unwrap into its sink, whatever driver the messages come from; one that
// reads a journal mailbox by IMAP does
//
//	store := func(ctx context.Context, m *connection.Message) error {
//		report, err := journal.Unwrap(m.Body)
//		if err == nil {
//			m.Envelope = &report.Envelope
//		}
//		m.Body = report.Body // the message inside, or the one that came if it is no report, or a broken one
//		return volume.Store(ctx, m)
//	}
//
// Unwrap never loses an octet: when it cannot open a report, its result has the whole message as it came. When it fails
// later, while Body is being read, Body ends in an error, never in io.EOF, and Drain keeps the message at its source. A
// host that would rather store such a report as it came makes it re-readable first, with connection.Spool.
//
// # Trust
//
// A report is what says so in its header, and anybody who can send mail to a mailbox can write such a header. Everything in
// a report outside the attached message is dropped with it, but for Report.Text. Unwrap only mail from a mailbox to which
// nobody but the journaling server can deliver.
//
// [MS-XJRNL]: https://learn.microsoft.com/openspecs/exchange_server_protocols/ms-xjrnl
package journal
