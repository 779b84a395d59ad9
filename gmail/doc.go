// Package gmail connects to Google's Gmail API: to every mailbox of a Workspace domain, or to the one mailbox of a person.
//
//	c, err := gmail.Open(gmail.Config{Credentials: key, Admin: "admin@example.org"}, nil)
//	if err != nil { … }
//	defer c.Close()
//	stats, err := connection.Mirror(ctx, c, sink, checkpoints, nil)
//
// # Credentials
//
// A service account with domain-wide delegation opens all mailboxes: by its key (credentials), or without one (keyless). For each
// mailbox and purpose a token of its own is asked for, with one scope, the least that does: what is not delegated is missed where
// it is needed, and [Conn.Test] names it. The consent of one person (oauth2) opens her mailbox and nothing else. A host that has tokens
// of its own gives them through connection.Env.Token: of one mailbox, or, together with the setting admin, of each mailbox and
// scope that TokenRequest names; [TokenHook] makes such a hook of an oauth2.TokenSource.
//
// # Reading
//
// [Conn.Mailboxes] lists the users that the settings select, by their immutable ids: a user who is renamed keeps her checkpoint.
// [Conn.Sync] reads a mailbox from its beginning and then what has changed; a message comes once, with all its labels, under
// the folder that TRASH, SPAM, DRAFT, the first of the users' labels, INBOX, SENT, CHAT or Archive is, in this order. Spam and trash,
// drafts and chats are left out unless the settings ask for them: an archive without include_spam_trash lacks what its users
// delete before it is read. [Conn.Fetch], [Conn.Open] and [Conn.Folders] read without a checkpoint.
//
// Retrieval by monitors reads the destination mailbox to which Google's Email Audit API copies the mail of others, sets those monitors
// up and renews them ([Conn.ReconcileMonitors]). That API is old and may end any day: [ErrMonitorsUnavailable] then says what
// else there is. Groups have no mailbox in this API.
//
// What else the program does (delete, append, send) must be in the setting verbs.
//
// # Quotas
//
// Google charges units: 20 for a message, 5 for a list of 500, 1 to learn that nothing is new; 6,000 a minute for each user and 1.2
// million for the project, other numbers for old projects (quota_profile). Requests wait for their units, and a mailbox of
// 100,000 messages takes some six hours the first time, whatever the machine. Each request names the user whom it is for
// (quotaUser), as with delegation Google may otherwise charge all to the service account; if refusals show that it does so
// nevertheless, all users share one budget for a while. [Conn.Usage] tells what was spent.
//
// A Conn counts its own requests. Other connections and programs in the same Google project are not seen: give them a part of
// daily_budget each, or a project of their own. Two programs may read one mailbox if their checkpoints are kept by a store
// that compares and swaps. What a day has cost is forgotten with the process, unless [Options] has a State.
//
// # Other servers
//
// Any server that speaks this API serves, with endpoint and custom_endpoints: with a token from the host it needs neither a
// directory nor an audit feed nor a token endpoint. Package gmailtest is one for tests.
//
// # What it costs to import
//
// The Google libraries bring gRPC and telemetry along, although nothing of it is used: on linux/amd64 a program with this driver alone has
// 26.7 MB (18.7 MB stripped) and 447 packages, one with imapclient alone 12.0 MB (8.4 MB) and 221. No other package of this module links
// them, except connection/alldrivers.
package gmail
