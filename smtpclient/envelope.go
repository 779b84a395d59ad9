package smtpclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// nullPath is the reverse-path of mail that must not be answered (RFC 5321, 4.5.5).
const nullPath = "<>"

// maxAddress bounds an address in octets. RFC 5321, 4.5.3.1 has 256; servers take more.
const maxAddress = 512

// A path is an address as a command carries it, without the brackets.
type path struct {
	address string
	utf8    bool // it needs SMTPUTF8 (RFC 6531)
}

// parsePath checks that an address can carry nothing but an address (RFC 5321, 4.1.2). With sender it may be "" or
// "<>", and with lmtp it may lack the domain.
func parsePath(address string, sender, lmtp bool) (path, error) {
	p := path{address: address}
	switch {
	case sender && (address == "" || address == nullPath):
		return path{}, nil
	case address == "":
		return p, errors.New("it is empty")
	case len(address) > maxAddress:
		return p, fmt.Errorf("it is longer than %d octets", maxAddress)
	}
	if i := strings.IndexFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }); i >= 0 {
		return p, fmt.Errorf("octet %d is a control character or no UTF-8", i)
	}
	p.utf8 = strings.ContainsFunc(address, func(r rune) bool { return r > 0x7f })
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		if lmtp || strings.EqualFold(address, "postmaster") { // RFC 5321, 4.5.1
			return p, checkLocal(address)
		}
		return p, errors.New("it has no @")
	}
	if err := checkLocal(address[:at]); err != nil {
		return p, err
	}
	return p, checkDomain(address[at+1:])
}

// checkLocal permits an atom with dots anywhere, as some carriers have handed out, and a quoted string.
func checkLocal(local string) error {
	if local == "" {
		return errors.New("nothing stands before the @")
	}
	if quoted, ok := strings.CutPrefix(local, `"`); ok {
		quoted, ok = strings.CutSuffix(quoted, `"`)
		for i := 0; i < len(quoted) && ok; i++ {
			switch quoted[i] {
			case '"':
				ok = false
			case '\\':
				i++
				ok = i < len(quoted)
			}
		}
		if !ok {
			return errors.New("its quotes do not match")
		}
		return nil
	}
	if i := strings.IndexAny(local, ` ()<>[]:;@\,"`); i >= 0 {
		return fmt.Errorf("it holds %q outside of quotes", local[i])
	}
	return nil
}

func checkDomain(domain string) error {
	if domain == "" {
		return errors.New("nothing stands behind the @")
	}
	allowed := func(r rune) bool {
		return r > 0x7f || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' || r == '.' || r == '_'
	}
	if inner, ok := strings.CutPrefix(domain, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok || inner == "" || strings.ContainsFunc(inner, func(r rune) bool { return !allowed(r) && r != ':' }) {
			return errors.New("its address literal is malformed")
		}
		return nil
	}
	for _, r := range domain {
		if !allowed(r) {
			return fmt.Errorf("its domain holds %q", r)
		}
	}
	return nil
}

// validateDSN checks what goes into commands (RFC 3461, 4). d may be nil.
func validateDSN(d *connection.DSN) error {
	if d == nil {
		return nil
	}
	for i, word := range d.Notify {
		switch strings.ToUpper(word) {
		case "SUCCESS", "FAILURE", "DELAY":
		case "NEVER":
			if len(d.Notify) > 1 {
				return errors.New("notify: NEVER excludes the others")
			}
		default:
			return fmt.Errorf("notify: %q: want SUCCESS, FAILURE, DELAY or NEVER", word)
		}
		if slices.ContainsFunc(d.Notify[:i], func(s string) bool { return strings.EqualFold(s, word) }) {
			return fmt.Errorf("notify: %q: given twice", word)
		}
	}
	if ret := strings.ToUpper(d.Return); ret != "" && ret != "FULL" && ret != "HDRS" {
		return fmt.Errorf("ret: %q: want FULL or HDRS", d.Return)
	}
	if len(d.ID) > 100 || strings.ContainsFunc(d.ID, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("envid: want at most 100 characters of printable ASCII")
	}
	return nil
}

// xtext encodes a value of DSN's (RFC 3461, 4).
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// domainOf returns what stands behind the @, "" if nothing does.
func domainOf(address string) string {
	_, domain, _ := cutLast(address, '@')
	return domain
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
