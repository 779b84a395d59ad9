package saslx

import (
	"fmt"
	"strings"
)

// A Name is a user name taken apart. Exchange knows four forms: "juser", "user@dom", `dom\juser` and
// `dom\juser\J.User`, the last for a mailbox whose name is not the login's. "/" may stand for "\".
type Name struct {
	Text    string // as written: what PLAIN, LOGIN, CRAM-MD5 and SCRAM send
	Domain  string // "" if there is none
	User    string
	Mailbox string // "" if none other than the user's own is named
}

// ParseName takes a user name apart. A "/" separates only behind something that can be a domain and if there is no "@"
// before the last part, so that "user/shared@dom" is one name. Case is kept. An empty part is an error that names the
// field username.
func ParseName(text string) (Name, error) {
	whole := Name{Text: text, User: text}
	sep := `\`
	if !strings.Contains(text, sep) {
		sep = "/"
	}
	parts := strings.Split(text, sep)
	if len(parts) == 1 {
		return whole, nil
	}
	if sep == "/" && (!domainLike(parts[0]) || strings.Contains(parts[1], "@")) {
		return whole, nil
	}
	for _, part := range parts {
		if part == "" || len(parts) > 3 {
			return Name{}, fmt.Errorf(`username: %q: want domain%suser[%[2]smailbox]`, text, sep)
		}
	}
	n := Name{Text: text, Domain: parts[0], User: parts[1]}
	if len(parts) == 3 {
		n.Mailbox = parts[2]
	}
	return n, nil
}

// domainLike reports whether s can be a Windows domain: "DOM", "dom.local".
func domainLike(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '.' && r != '-' && r != '_'
	})
}

// Windows returns the name as NTLM carries it: domain and login. The mailbox cannot be carried.
func (n Name) Windows() string {
	if n.Domain == "" {
		return n.User
	}
	return n.Domain + `\` + n.User
}

// Person returns whose mailbox is opened: what bearer mechanisms send and for whom a token is asked.
func (n Name) Person() string {
	if n.Mailbox != "" {
		return n.Mailbox
	}
	return n.Text
}

// elsewhere reports whether a mailbox other than the login's own is to be opened.
func (n Name) elsewhere() bool { return n.Mailbox != "" && !strings.EqualFold(n.Mailbox, n.User) }
