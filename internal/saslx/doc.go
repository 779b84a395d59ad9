// Package saslx authenticates the mail drivers: it chooses a mechanism from what a server offers and what the settings
// hold, and runs its exchange (RFC 4422). It knows no protocol and does no I/O of its own but asking for a token.
//
// # How a driver uses it
//
// Once for each Conn, from its Config. Errors name JSON fields, so this serves Validate too:
//
//	auth, err := saslx.New(saslx.Account{Username: cfg.Username, Password: cfg.Password, Token: env.Token, …})
//
// For each attempt to get a connection, and again on the second one if a token has to be renewed:
//
//	login := auth.Login()
//	…dial, TLS, capabilities…
//	choice, err := login.Choose(saslx.Offer{Mechanisms: mechs, Commands: commands, TLS: &state, Host: host, Port: port})
//	if choice.Plain() { …the protocol's own LOGIN, USER/PASS or APOP… }
//	x, err := login.Start(ctx, choice)
//	err = x.Run("AUTH "+x.Command(initial), talk)     // talk sends a line and reads the reply
//	…the final reply, as the protocol classifies it: refused, an *Error, or nil…
//	if err = x.End(refused); err != nil && login.Renew(ctx, x, err) { …close, connect anew, once… }
//
// A driver whose replies come another way calls [Exchange.Answer] for each challenge instead of Run.
//
// [Exchange.Command] gives "MECH" or "MECH <initial response>": whether the latter is permitted is the protocol's affair
// (IMAP: SASL-IR and no LOGINDISABLED; POP3: at most 255 octets with "AUTH " and CRLF; SMTP: always). Without it the
// response waits for the server's first, empty challenge. A line that Answer returns is sent as it is, also if it is
// empty or "*"; after the server's final reply nothing is sent.
//
// Errors are *connection.Error without Op, Driver and Endpoint: the driver fills them in. Those of [New] and
// [Account.Validate] are plain texts about a JSON field, as a Config's Validate returns them. None holds a password, a token
// or a response. What a driver must add to its scrubber of server texts is [Exchange.Secret].
package saslx
