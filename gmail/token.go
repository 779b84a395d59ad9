package gmail

import (
	"context"

	"golang.org/x/oauth2"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// TokenHook returns a source of tokens for connection.Env.Token that asks ts, as golang.org/x/oauth2 and the packages built on it
// provide them. Its tokens are those of one person, whatever mailbox and scopes are asked for, so they must permit all that the
// connection is to do; for one mailbox leave the setting admin empty. ts must renew its tokens by itself, as those of
// oauth2.Config.TokenSource and oauth2.ReuseTokenSource do: it cannot be told that one was refused before its time.
//
// A ts that blocks holds up nobody whose context has ended; it is then left behind, once at most. The hook is safe for
// concurrent use, and asks ts from one goroutine at a time.
func TokenHook(ts oauth2.TokenSource) func(context.Context, connection.TokenRequest) (connection.Secret, error) {
	return token.FromOAuth2(ts)
}
