// Package ewstest is an Exchange server for tests, on the loopback and in the shape of net/http/httptest. It speaks Exchange
// Web Services over real HTTP, is strict about what it is sent, and as nasty as asked for about what it sends.
//
//	srv := ewstest.NewServer(t, &ewstest.Options{Version: "2016"})
//	alice := srv.AddMailbox("alice@corp.test", ewstest.MailboxOptions{Password: "correct horse"})
//	alice.Deliver("Inbox", raw1, raw2)
//	conn, err := ews.Open(srv.Config(), srv.Env())
//	// ... let the program under test work ...
//	left := srv.Messages("alice@corp.test", "Inbox")
//
// Listen starts the same server outside tests.
//
// # What it is sent
//
// Every request is held against the published schema of EWS before it is executed: the order of the elements, what is
// required, how often, which namespace, which values, and what the declared version knows. One that breaks a rule is
// answered as Exchange answers it, is listed by [Server.BadRequests], and fails the test unless
// [Options.AllowBadRequests] is set. [CheckRequest] is that check alone, for tests of request writers. [Server.Requests] has
// every HTTP request with its connection, its account and its mailbox, also to prove what was not sent.
//
// # What it knows
//
// Mailboxes have the usual folders, an in-place archive ([Mailbox.Archive]), recoverable items ([Mailbox.Recoverable]),
// quotas and holds; there are public folders ([Server.PublicFolders]), distribution lists ([Server.AddGroup]) and accounts
// without a mailbox ([Server.AddAccount]), which act for others once [Server.GrantImpersonation] lets them. Ids may differ in
// case only, and change when an item moves; those of another server mean nothing unless it has the same seed. Sync states tell exactly what changed since, until
// [Mailbox.ExpireSyncStates]. What other clients and administrators do meanwhile is [Mailbox.Move], [Mailbox.SetRead],
// [Mailbox.Remove], [Folder.Rename], [Folder.Delete] and the like.
//
// # What goes wrong
//
// [Server.Fail] lets requests fail: with a throttled answer, a cut connection, another item's id, and whatever else makes a
// [Fault]. [Mailbox.Break] spoils items. [Options] and [Quirks] hold what is wrong all the time: the [Dialect] and the [Shred] of
// answers, the [Throttle], the [Authentication], the [Host] names around the server, and the habits of well-known servers.
//
// # What it is not
//
// Exchange. Messages are given out octet for octet unless [Options.MIME] says otherwise, ExportItems has no FastTransfer, searches
// know restrictions only, and nothing that concerns calendars or contacts is more than an item with octets.
package ewstest
