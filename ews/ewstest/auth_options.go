package ewstest

import "time"

// Schemes are schemes of HTTP authentication.
type Schemes uint8

// The schemes. The zero value of Schemes in options stands for Basic.
const (
	Basic     Schemes = 1 << iota
	NTLM              // version 2
	Negotiate         // with NTLM's messages, as they are
	Bearer            // OAuth 2.0, see [Server.AddToken]
)

// NameForms are ways to write a user's name.
type NameForms uint8

// The ways to write a user's name. The zero value of NameForms in options stands for all.
const (
	NameUPN    NameForms = 1 << iota // joe@corp.local
	NameSMTP                         // joe@corp.test
	NameDomain                       // CORP\joe
	NameBare                         // joe; of NTLM, also with an empty domain
)

// ExtendedProtection says what becomes of channel bindings in NTLM over TLS (RFC 5929, tls-server-end-point).
type ExtendedProtection uint8

// What becomes of channel bindings.
const (
	ProtectionOff     ExtendedProtection = iota // nobody looks at them
	ProtectionAllow                             // those that are sent must be right
	ProtectionRequire                           // they must be sent, and be right
)

// Authentication is how a server authenticates. The zero value offers Basic over TLS.
type Authentication struct {
	Schemes Schemes
	// AllowPlain serves EWS and takes credentials without TLS. Otherwise that is a leak, see [Server.Leaks].
	AllowPlain bool
	// Forms are the only ways in which names may be written.
	Forms NameForms
	// Latin1 expects Basic credentials in ISO 8859-1, and not in UTF-8.
	Latin1 bool

	// NoBody answers 401 without a body, NoChallenge without a WWW-Authenticate, and NoPersistentAuth omits the header of
	// that name, from an answer that authenticates a connection.
	NoBody, NoChallenge, NoPersistentAuth bool
	// NoTargetInfo leaves NTLM's challenge without target information, and NTLMFlags are set in it besides the usual ones
	// ([MS-NLMP], 2.2.2.5).
	NoTargetInfo bool
	NTLMFlags    uint32
	Protection   ExtendedProtection
	// ReauthAfter and ReauthAge end an NTLM session after so many requests or so much time: the next request is answered
	// with 401. 0 = never.
	ReauthAfter int
	ReauthAge   time.Duration
	// DropAfterChallenge closes the connection behind so many of NTLM's challenges; a negative number is all.
	DropAfterChallenge int

	// LockAfter is how many failures lock an account for good; BlockAfter how many in a row block it for BlockFor (0: a
	// minute). 0 = never.
	LockAfter, BlockAfter int
	BlockFor              time.Duration
}

// An AccountState is what an administrator, or time, made of an account.
type AccountState uint8

// What accounts may be. All but the first are answered with 401, whatever the password.
const (
	AccountActive AccountState = iota
	AccountLocked
	AccountDisabled
	AccountPasswordExpired
	AccountMustChangePassword
)

// why is what the page of the 401 says.
func (s AccountState) why() string {
	return [...]string{
		"", "The referenced account is currently locked out and may not be logged on to.", "Account is disabled.",
		"The specified account password has expired.", "The user's password must be changed before signing in.",
	}[s]
}

// A Token is what a bearer token stands for.
type Token struct {
	User    string    // address of the account
	AppOnly bool      // an application's own token: every request must impersonate; with a user's token none may
	From    time.Time // not before; zero = always
	Until   time.Time // expires; zero = never
}

// A Login is one attempt to authenticate that was not broken off. A request on an NTLM session that exists is none.
type Login struct {
	Conn        int // the connection, counted from 1 in the order of acceptance
	Scheme      string
	Name        string // as sent
	Domain      string // as sent by NTLM
	Workstation string // as sent by NTLM
	Account     string // the address of the account that was found, "" without
	OK          bool
	Why         string // not OK: "no such user", "wrong domain", "wrong form of name", "wrong password"…
}
