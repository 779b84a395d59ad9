package connection

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a Secret prints as.
const Redacted = "[redacted]"

// A Secret is a password, key or token that does not print: fmt, slog, JSON, XML, gob, templates and panics all show
// "[redacted]", also when the Secret is an unexported field of something else. Reveal is the only way out. The zero
// Secret is empty.
type Secret struct {
	// A closure, not a string: fmt reads unexported string fields by reflection and cannot be stopped, but of a func
	// it sees only an address.
	reveal func() string
}

// NewSecret returns a Secret that holds s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return s }}
}

// Reveal returns the text. Call it where the text is sent, and nowhere else.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero reports whether s is empty.
func (s Secret) IsZero() bool { return s.reveal == nil }

// String returns "[redacted]", or "" for an empty Secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Redacted
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return fmt.Sprintf("connection.Secret(%q)", s.String()) }

// Format implements fmt.Formatter, for every verb.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text) // fmt keeps the error
}

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalBinary implements encoding.BinaryMarshaler, and so rules gob.
func (s Secret) MarshalBinary() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

var errRedacted = errors.New(`this is the text "` + Redacted + `", not the secret: put the secret back, or leave the field out`)

// UnmarshalText implements encoding.TextUnmarshaler. It refuses "[redacted]", so that settings which went through a
// log or a page are not saved without their secret.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == Redacted {
		return errRedacted
	}
	*s = NewSecret(string(text))
	return nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler under the rules of UnmarshalText.
func (s *Secret) UnmarshalBinary(data []byte) error { return s.UnmarshalText(data) }

// UnmarshalJSON implements json.Unmarshaler under the rules of UnmarshalText.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New("want a string") // json's own error may quote the secret
	}
	return s.UnmarshalText([]byte(text))
}
