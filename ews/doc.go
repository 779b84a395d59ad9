// Package ews reads, mirrors, empties and feeds the mailboxes of a Microsoft Exchange server over Exchange Web Services:
// Exchange 2007 SP1 to Subscription Edition, and other servers that speak EWS. Usually one account with the role
// ApplicationImpersonation opens all mailboxes:
//
//	c, err := ews.Open(ews.Config{Server: "exchange.example.org", Username: "svc@example.org", Password: password}, nil)
//	for m, err := range c.Fetch(ctx, &connection.FetchOptions{Mailbox: "joe@example.org"}) { … }
//
// # Mailboxes
//
// A mailbox is named by its address, "joe@example.org". The names of two other stores are made from it: with "#archive"
// behind it, "joe@example.org#archive" is the in-place archive of that person, and "#public" are the public folders. ""
// is the account's own mailbox; Fetch takes it for all of Config.Mailboxes if there are any. Where each mailbox lies is
// found by autodiscover, unless Config.DisableAutodiscover says that all lie on Config.Server.
//
// # What a message is
//
// Exchange does not keep a message as it came. It keeps its properties, and makes a message of them whenever it is asked
// for one. So the octets are not those that were received, and need not be the same the next time: signatures of DKIM
// may not verify, header fields may be missing, Bcc often is, and boundaries change. Never compare or deduplicate messages
// by a hash of their octets; use the Ref, or Message-ID. Attachments, Message-ID, Date and In-Reply-To stay as they are.
// [Conn.TransportHeaders] returns the header as it was received, where the server has kept it. [Conn.Export] returns
// everything in Exchange's own form.
//
// For the same reason a message that breaks off cannot be continued: it is asked for again from its beginning. The
// driver never changes the read flag of a message.
//
// # Exchange Online
//
// Exchange Online switches EWS off: since 1 October 2026 only for tenants that list the application in EWSAllowedAppIDs,
// on 1 April 2027 for all. An endpoint there is warned of, and its refusal is ErrUnsupported with the Code "EWSRetired".
// Use the driver msgraph there. Servers on premises are not affected.
package ews
