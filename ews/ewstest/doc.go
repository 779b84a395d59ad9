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
// Every request is held against the published schema of EWS before it is executed: the order of the elements, what is
// required, how often, which namespace, which values, and what the declared version knows. One that breaks a rule is
// answered as Exchange answers it, is listed by [Server.BadRequests], and fails the test unless
// [Options.AllowBadRequests] is set. [CheckRequest] is that check alone, for tests of request writers.
package ewstest
