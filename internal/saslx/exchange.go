package saslx

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// maxChallenge bounds one challenge, in octets of base64. Their number needs no bound: no mechanism
// takes more than two, beside the one that asks for the initial response.
const maxChallenge = 64 << 10

// A mechanism is the client of one exchange, used once. Its Start and Next are those of go-sasl's Client: an initial
// response of nil is none, one of length 0 is an empty one.
type mechanism interface {
	Start() (name string, initial []byte, err error)
	Next(challenge []byte) (response []byte, err error)
	// complete returns an error if the server may not end the exchange with success now.
	complete() error
	// explain adds to a refusal what the server told in its challenges.
	explain(refused *connection.Error)
}

// bare is embedded by mechanisms that accept success at any time and learn nothing from challenges.
type bare struct{}

func (bare) complete() error           { return nil }
func (bare) explain(*connection.Error) {}

// An Exchange is one authentication exchange, of any protocol: it makes the lines that the client sends. It is used by
// one goroutine, once.
type Exchange struct {
	mech    mechanism
	name    string
	secret  connection.Secret
	bearer  bool
	initial func() []byte // nil without one; a func, since fmt shows octets
	pending bool          // the initial response is not sent yet
	broken  error         // why the exchange was cancelled
}

// begin starts mech.
func begin(mech mechanism, secret connection.Secret) (*Exchange, error) {
	name, initial, err := mech.Start()
	if err != nil {
		return nil, wrap(name, err)
	}
	x := &Exchange{mech: mech, name: name, secret: secret}
	if initial != nil {
		x.initial, x.pending = func() []byte { return initial }, true
	}
	return x, nil
}

// Name returns the mechanism's name.
func (x *Exchange) Name() string { return x.name }

// Secret returns the password or token that the exchange uses, for the driver's scrubber of server texts.
func (x *Exchange) Secret() connection.Secret { return x.secret }

// Command returns what follows the protocol's verb: "PLAIN", or with the initial response, if inline and the mechanism
// has one, "PLAIN AGp1c2Vy…" (an empty one is "="). The last call before Answer counts, so that a driver may look at
// the length of one form and send the other.
func (x *Exchange) Command(inline bool) string {
	x.pending = x.initial != nil && !inline
	switch {
	case x.initial == nil || !inline:
		return x.name
	case len(x.initial()) == 0:
		return x.name + " ="
	}
	return x.name + " " + base64.StdEncoding.EncodeToString(x.initial())
}

// Answer returns the line that answers a challenge, both as on the wire: in base64, without line ends. The line may be
// empty, and is "*" if the mechanism cannot go on: it is to be sent all the same, and the server's final reply to be
// read, before [Exchange.End] tells why. An error, ErrProtocol, means that the server cannot be talked to: the
// connection is to be closed.
func (x *Exchange) Answer(challenge string) (line string, err error) {
	switch {
	case x.broken != nil:
		return "", problem(connection.ErrProtocol, "", "%s: the server goes on with a cancelled exchange", x.name)
	case len(challenge) > maxChallenge:
		return "", problem(connection.ErrProtocol, "", "%s: a challenge of over %d octets", x.name, maxChallenge)
	}
	octets, err := base64.StdEncoding.DecodeString(strings.Trim(challenge, " \t"))
	if err != nil {
		return "", problem(connection.ErrProtocol, "", "%s: a challenge that is not base64", x.name)
	}
	if x.pending && len(octets) == 0 {
		x.pending = false
		return base64.StdEncoding.EncodeToString(x.initial()), nil
	}
	response, err := x.mech.Next(octets)
	if err != nil {
		x.broken = wrap(x.name, err)
		return "*", nil // RFC 3501, 6.2.2; RFC 5034, 4; RFC 4954, 4
	}
	return base64.StdEncoding.EncodeToString(response), nil
}

// Run is the whole loop for protocols of one line and one reply. It sends command, and then an answer for each
// challenge, through talk, which returns the server's next challenge, or more = false for its final reply; that is for
// the driver to keep, and to hand to End. An error of talk ends Run at once and is returned as it is.
func (x *Exchange) Run(command string, talk func(line string) (challenge string, more bool, err error)) error {
	line := command
	for {
		challenge, more, err := talk(line)
		if err != nil || !more {
			return err
		}
		if line, err = x.Answer(challenge); err != nil {
			return err
		}
	}
}

// End judges the server's final reply: refused is nil for success, else the protocol's view of the refusal. It returns
// nil only if the server accepts the client and has itself done all that the mechanism demands of it. If the client had
// cancelled, it returns the reason of that. A refusal of the credential (ErrAuth) gains what the mechanism knows: the
// status of a refused token in Code, a Hint; its Kind changes where the server told that the trouble will pass.
func (x *Exchange) End(refused error) error {
	if x.broken != nil {
		return x.broken
	}
	if refused == nil {
		if err := x.mech.complete(); err != nil {
			return wrap(x.name, err)
		}
		return nil
	}
	var e *connection.Error
	if !errors.As(refused, &e) || e.Kind != connection.ErrAuth {
		return refused
	}
	told := *e
	x.mech.explain(&told)
	return &told
}

// wrap puts the mechanism's name before the text of an error.
func wrap(name string, err error) error {
	var e *connection.Error
	if !errors.As(err, &e) {
		return problem(connection.ErrProtocol, "", "%s: %w", name, err)
	}
	named := *e
	named.Err = problem(e.Kind, "", "%s: %w", name, e.Err).Err
	return &named
}
