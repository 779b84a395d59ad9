// Package gmailtest is Google Workspace for tests as far as mail is concerned, on the loopback and in the shape of
// net/http/httptest: the Gmail API, users and groups of the Directory API, the Email Audit API, and the endpoint that gives out tokens.
// It speaks real HTTP, is strict about what it is sent, and as nasty as asked for about what it sends.
//
//	srv := gmailtest.NewServer(t, nil)
//	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
//	srv.Deliver("ann@corp.example", raw1, raw2)
//	conn, err := gmail.Open(srv.Config(), srv.Env())
//	// ... let the program under test work ...
//	left := srv.Messages("ann@corp.example")
//
// [Listen] starts the same server outside tests.
//
// # Who may do what
//
// A service account ([Server.ServiceAccountJSON]) acts for every user, with the scopes of [Options.Delegated]; its assertions are
// verified as Google does, and refused with Google's texts. One user's consent is [Server.OAuth2], and [Server.Token] is an access
// token without further ado. Every method wants one of its scopes. [Server.RevokeTokens], [Server.RevokeConsent], [Server.DeleteKey] and
// [Server.Delegate] take away what was given; [Server.SetClockOffset] puts the server's clock wrong.
//
// Users come and go with [Server.AddUser], [Server.Suspend], [Server.RenameUser] and [Server.RemoveUser]; [Server.AddGroup] makes groups.
//
// [Server.Config] are settings of the driver for the whole domain, [Server.UserConfig] for one user's consent, and [Server.HookConfig] with
// [Server.HookEnv] those for tokens from elsewhere.
//
// # Mail
//
// [Server.Deliver] and [Server.DeliverWith] bring mail; [Server.SetLabels], [Server.Remove], [Server.AddLabel], [Server.RenameLabel] and
// [Server.RemoveLabel] are what users do in another program; [Server.Messages] is what a mailbox holds. A [Synthetic] is a huge message
// that takes no memory. Message ids are the same in every mailbox, history ids have gaps, labelIds come in another order each time, and
// lists tell the newest first. [Server.ExpireHistory] makes a client reconcile; [Server.Vanish], [Server.EmptyPages],
// [Server.RepeatPages] and [Server.ExpirePageTokens] make lists difficult; [Trouble] is what is wrong with one message, and [MailOptions]
// is where the server differs from Google. [Server.Monitors], [Server.PutMonitor] and [Server.SetGone] are about the audit feed; a
// monitored mailbox's mail is copied as [MonitorOptions] says.
//
// # What it is sent
//
// What the published API does not have is refused as Google refuses it, is listed by [Server.BadRequests], and fails the test unless
// [Options.AllowBadRequests] is set: query parameters, selections of fields, values, bodies. [Server.Requests] is the log, with the
// units that each request was charged; [Server.Units], [Server.MostUnits], [Server.Calls] and [Server.Peak] are for assertions on cost.
//
// # What goes wrong
//
// [Server.Fail] lets requests fail: with a status, an error in Google's form, a cut or silent connection, and whatever else makes a
// [Fault]; [Server.DropConnections] and [Server.Freeze] end connections that are there. [Options] hold what is wrong all the time, [Quota] what clients may spend: by [Options.Clock], so that no test waits.
// [Options.Memory] makes connections without sockets, for testing/synctest.
//
// # What it is not
//
// Google. There is one project, prices and limits are those of Google's pages, and nobody knows how Google counts.
package gmailtest
