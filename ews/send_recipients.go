package ews

import (
	"errors"
	"fmt"
	"io"
	"mime"
	netmail "net/mail"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

const smtpHint = "EWS has no envelope: Exchange sends a message to all whom its To, Cc and Bcc name; use the smtp driver to send it to others"

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

// parseList returns the addresses of a field's value, as they are compared.
func parseList(value string) ([]string, error) {
	value = strings.ToValidUTF8(value, "\ufffd")
	if strings.Trim(value, ", \t") == "" {
		return nil, nil
	}
	list, err := addressParser.ParseList(value)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(list))
	for i, a := range list {
		all[i] = strings.ToLower(a.Address)
	}
	return all, nil
}

// addressesIn returns what may be taken for an address in a field's value, also in one that breaks the rules.
func addressesIn(value string) []string {
	if all, err := parseList(value); err == nil {
		return all
	}
	var all []string
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return r <= ' ' || strings.ContainsRune("<>()[],;:\"'`", r) }) {
		if strings.Contains(word, "@") {
			all = append(all, strings.ToLower(word))
		}
	}
	return all
}

func namesRecipients(field string) bool { return field == "to" || field == "cc" || field == "bcc" }

// named returns every address that somebody may take for one of the header's recipients: also behind lines that are no
// fields, behind a bare CR, and behind a byte order mark.
func (h *header) named() []string {
	var all []string
	loose := parseHeader([]byte(strings.ReplaceAll(strings.ReplaceAll(string(h.Raw), "\r\n", "\n"), "\r", "\n")))
	for _, l := range loose.Lines {
		name, _, ok := strings.Cut(string(loose.Raw[l.Start:l.End]), ":")
		if ok && namesRecipients(strings.ToLower(strings.Trim(name, " \t\x00\ufeff"))) {
			all = append(all, addressesIn(loose.Value(l))...)
		}
	}
	return all
}

// sure returns the addresses to which Exchange sends a message with this header, whatever its parser makes of fields that
// occur twice and of lines that are no fields. A Bcc field to which nothing can be added is an error.
func (h *header) sure() ([]string, error) {
	lists := make(map[string][]string)
	seen := make(map[string]int)
	sound := true
	for _, l := range h.Lines {
		sound = sound && l.Name != ""
		if !namesRecipients(l.Name) {
			continue
		}
		list, err := parseList(h.Value(l))
		seen[l.Name]++
		if l.Name == "bcc" && (err != nil || !sound || seen["bcc"] > 1) {
			return nil, errors.New("the header's Bcc is not understood, or there is more than one")
		}
		if sound && err == nil {
			lists[l.Name] = list
		}
	}
	var all []string
	for name, list := range lists {
		if seen[name] == 1 {
			all = append(all, list...)
		}
	}
	return all, nil
}

// missing returns those of to, as they were given, that the header does not name for sure. If it names others, or may be
// taken to, the error is ErrUnsupported.
func (h *header) missing(to []string) ([]string, error) {
	var wanted []string
	for _, address := range to {
		norm, err := mailboxAddress(address)
		if err != nil {
			return nil, &connection.Error{Kind: connection.ErrInvalid, Err: fmt.Errorf("recipient %q %w", address, err)}
		}
		wanted = append(wanted, norm)
	}
	if len(wanted) == 0 {
		return nil, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no recipient")}
	}
	others := make(map[string]bool)
	for _, address := range h.named() {
		if !slices.Contains(wanted, address) {
			others[address] = true
		}
	}
	if len(others) > 0 {
		return nil, &connection.Error{
			Kind: connection.ErrUnsupported, Hint: smtpHint,
			Err: fmt.Errorf("the message's To, Cc and Bcc name %d that are not among the recipients", len(others)),
		}
	}
	sure, err := h.sure()
	if err != nil {
		return nil, &connection.Error{Kind: connection.ErrUnsupported, Hint: smtpHint, Err: err}
	}
	var missing []string
	for i, address := range to {
		if slices.Contains(sure, wanted[i]) || slices.Contains(wanted[:i], wanted[i]) {
			continue
		}
		if strings.ContainsFunc(address, func(r rune) bool { return r >= 0x80 }) {
			return nil, &connection.Error{
				Kind: connection.ErrUnsupported, Hint: smtpHint,
				Err: fmt.Errorf("recipient %q is not ASCII and cannot be added to the header", address),
			}
		}
		missing = append(missing, address)
	}
	return missing, nil
}
