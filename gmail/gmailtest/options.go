package gmailtest

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options say what server to start. The zero value is a well-behaved Google over plain HTTP/1.1 with the domain
// "corp.example" and an administrator who has no mailbox.
type Options struct {
	// Protocol is what the server speaks; "" is plain HTTP/1.1.
	Protocol Protocol
	// Memory makes connections within the process, without sockets: they are dialled through [Server.Env] and work within
	// a bubble of testing/synctest.
	Memory bool
	// Clock is where the server has the time from, for quotas, tokens, dates and the log; nil is the system's.
	Clock Clock
	// ClockOffset is how far the server's clock is ahead of Clock.
	ClockOffset time.Duration

	// Domain is the primary domain; "" is "corp.example". Domains are further ones that belong to it.
	Domain  string
	Domains []string
	// Admin is the address of the administrator whom the directory and the audit feed believe; "" is "admin@" and Domain. The
	// account exists and has no mailbox until [Server.AddUser] says otherwise.
	Admin string

	// Key is the key of the service account; nil is one that is made once in a process.
	Key *rsa.PrivateKey
	// TokenPath is where tokens are given out; "" is "/token".
	TokenPath string
	// NoJWTGrant refuses the grant of service accounts: unsupported_grant_type.
	NoJWTGrant bool
	// Delegated are the scopes that the domain lets the service account have; nil is all that this server knows.
	Delegated []string
	// TokenLifetime is how long tokens are good; 0 = an hour less a second, as Google's.
	TokenLifetime time.Duration

	// Without switches services and methods off, which are then as unknown as on a server that never had them: "directory",
	// "audit", "batch", "token", or the name of a method such as "getProfile".
	Without []string
	// ForeignNotFound answers 404 where Google answers 403 "Delegation denied", for a userId that is not the token's.
	ForeignNotFound bool
	// AllowBadRequests lets a test pass though the server was sent what Google refuses as malformed.
	AllowBadRequests bool

	// Quota limits what clients may ask for.
	Quota Quota
	// Rendering is how answers are written.
	Rendering Rendering
	// Mail is how mailboxes behave.
	Mail MailOptions
	// Log is how many requests the log has at most, the newest ones; 0 = 65,536.
	Log int
	// Seed decides everything random; the same seed gives the same faults and orders.
	Seed uint64
}

// A Protocol is what a server speaks.
type Protocol string

// The protocols.
const (
	Plain Protocol = ""    // HTTP/1.1 without TLS
	TLS   Protocol = "tls" // HTTP/1.1 over TLS
	HTTP2 Protocol = "h2"  // HTTP/2 over TLS, or HTTP/1.1 for clients that do not offer it
)

// Quota limits what clients may ask for. The zero Quota has no limits; units are counted in any case.
type Quota struct {
	// Legacy has the unit prices of projects from before May 2026.
	Legacy bool
	// PerUser and Project are the most units within any 60 seconds, for a user and for the project; 0 = no limit.
	PerUser, Project int64
	// Daily is the most units from one midnight in California to the next; 0 = no limit.
	Daily int64
	// Concurrent is how many requests of a user may be under way at once; 0 = no limit.
	Concurrent int
	// IgnoreQuotaUser charges everything that a service account does to that account, whatever quotaUser says.
	IgnoreQuotaUser bool
	// Refusal is the form of the answer to a user that has used up its units.
	Refusal Refusal
}

// A Refusal is how a server tells that units are used up. All forms have been seen of Google.
type Refusal string

// The forms of refusal.
const (
	RefuseUser   Refusal = ""       // 403 userRateLimitExceeded
	RefuseMetric Refusal = "metric" // 403 rateLimitExceeded, naming the quota metric in the message
	RefuseUntil  Refusal = "until"  // 429 rateLimitExceeded, with "Retry after" and the time in the message
	RefuseHeader Refusal = "header" // 429 rateLimitExceeded, with a Retry-After header
)

// Rendering is how answers are written. The zero value is how Google does it.
type Rendering struct {
	NoGzip       bool   // never compress
	IgnoreFields bool   // answer everything whatever the fields parameter says
	Shuffle      bool   // the keys of objects come in any order
	Decoys       bool   // before everything else come members that Google does not have, with keys such as "raw" and "id" within
	Base64       Base64 // of raw messages
}

// Base64 is how the octets of raw messages are written.
type Base64 string

// The ways to write base64.
const (
	Base64URL      Base64 = ""         // alphabet for URLs, padded
	Base64Unpadded Base64 = "unpadded" // alphabet for URLs, not padded
	Base64Escaped  Base64 = "escaped"  // alphabet for URLs, padded with \u003d
	Base64Std      Base64 = "std"      // standard alphabet, padded
	Base64StdSlash Base64 = "slash"    // standard alphabet, padded, with \/ for /
)

// check refuses values that mean nothing.
func (o *Options) check() error {
	for _, v := range []struct {
		name, value string
		known       []string
	}{
		{"Protocol", string(o.Protocol), []string{string(Plain), string(TLS), string(HTTP2)}},
		{"Quota.Refusal", string(o.Quota.Refusal), []string{string(RefuseUser), string(RefuseMetric), string(RefuseUntil), string(RefuseHeader)}},
		{"Rendering.Base64", string(o.Rendering.Base64), []string{
			string(Base64URL), string(Base64Unpadded), string(Base64Escaped), string(Base64Std), string(Base64StdSlash),
		}},
	} {
		if !slices.Contains(v.known, v.value) {
			return fmt.Errorf("gmailtest: Options.%s: %q is none of %q", v.name, v.value, v.known)
		}
	}
	if o.Log < 0 {
		return errors.New("gmailtest: Options.Log: negative")
	}
	if o.Admin != "" && !validAddress(o.Admin) {
		return fmt.Errorf("gmailtest: Options.Admin: %q is no address", o.Admin)
	}
	if o.TokenPath != "" && !strings.HasPrefix(o.TokenPath, "/") {
		return fmt.Errorf("gmailtest: Options.TokenPath: %q does not begin with a slash", o.TokenPath)
	}
	return nil
}
