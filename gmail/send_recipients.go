package gmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	netmail "net/mail"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

var errAddress = errors.New("is no address that can be sent to")

// addressParser reads addresses and does not care about the character set of names.
var addressParser = netmail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
}}

// mailboxAddress checks an address of an envelope. It returns it as it is compared.
func mailboxAddress(s string) (string, error) {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("<>(),;", r) {
			return "", errAddress
		}
	}
	a, err := addressParser.Parse(s)
	if err != nil || a.Name != "" {
		return "", errAddress
	}
	return strings.ToLower(a.Address), nil
}

// recipients returns the addresses to which Gmail sends a message with this header, as they are compared. What another
// parser may read in another way is an error.
func (h *header) recipients() ([]string, error) {
	if i := bytes.IndexByte(bytes.ReplaceAll(h.Raw, []byte("\r\n"), []byte("\n")), '\r'); i >= 0 || bytes.IndexByte(h.Raw, 0) >= 0 {
		return nil, errors.New("the header holds a bare CR or a NUL")
	}
	var all []string
	seen := make(map[string]bool)
	for _, l := range h.Lines {
		switch {
		case l.Name == "":
			return nil, errors.New("the header holds a line that is no field")
		case l.Name != "to" && l.Name != "cc" && l.Name != "bcc":
			continue
		case seen[l.Name]:
			return nil, fmt.Errorf("the header has two %s fields", l.Name)
		}
		seen[l.Name] = true
		value := strings.ToValidUTF8(h.Value(l), "\ufffd")
		if strings.Trim(value, ", \t") == "" {
			continue
		}
		list, err := addressParser.ParseList(value)
		if err != nil {
			return nil, fmt.Errorf("the header's %s field is not understood", l.Name)
		}
		for _, a := range list {
			all = append(all, strings.ToLower(a.Address))
		}
	}
	return all, nil
}

// goesTo returns ErrUnsupported if the header names others than to, or not all of them.
func (h *header) goesTo(to []string) error {
	if len(to) == 0 {
		return &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no recipient")}
	}
	var wanted []string
	for _, address := range to {
		norm, err := mailboxAddress(address)
		if err != nil {
			return &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("recipient %q %w", address, err)}
		}
		wanted = append(wanted, norm)
	}
	named, err := h.recipients()
	if err != nil {
		return &connection.Error{Kind: connection.ErrUnsupported, Hint: smtpHint, Err: err}
	}
	var parts []string
	if missing := lacking(wanted, named); len(missing) > 0 {
		parts = append(parts, "the header does not name "+some(missing))
	}
	if others := lacking(named, wanted); len(others) > 0 {
		parts = append(parts, "the header names "+some(others)+", who is no recipient")
	}
	if len(parts) > 0 {
		return &connection.Error{Kind: connection.ErrUnsupported, Hint: smtpHint, Err: errors.New(strings.Join(parts, "; "))}
	}
	return nil
}

// lacking returns what is in all and not in others, each once.
func lacking(all, others []string) []string {
	var left []string
	for _, s := range all {
		if !slices.Contains(others, s) && !slices.Contains(left, s) {
			left = append(left, s)
		}
	}
	return left
}

// some names the first of many.
func some(addresses []string) string {
	const most = 10
	if len(addresses) <= most {
		return strings.Join(addresses, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(addresses[:most], ", "), len(addresses)-most)
}
