package connection

import "fmt"

// A Mode says how a connection is secured (RFC 8314). The zero value means ModeTLS.
type Mode string

// The modes.
const (
	// ModeTLS speaks TLS from the first octet.
	ModeTLS Mode = "tls"
	// ModeSTARTTLS connects in the clear and must upgrade before anything else.
	ModeSTARTTLS Mode = "starttls"
	// ModeTLSWhenAvailable upgrades if the server offers it. Once offered, a refusal, a failed handshake or a bad
	// certificate is an error, never a fallback; if it is not offered, no password is sent unless
	// allow_plaintext_auth is set.
	ModeTLSWhenAvailable Mode = "tls-when-available"
	// ModeInsecure uses no TLS. Anybody on the path can read and change everything.
	ModeInsecure Mode = "insecure"
)

// Or returns m, or ModeTLS if m is "".
func (m Mode) Or() Mode {
	if m == "" {
		return ModeTLS
	}
	return m
}

// Validate returns an error that names the choices if m is none of them.
func (m Mode) Validate() error {
	switch m.Or() {
	case ModeTLS, ModeSTARTTLS, ModeTLSWhenAvailable, ModeInsecure:
		return nil
	}
	return fmt.Errorf("mode: %q: want %s, %s, %s or %s", string(m), ModeTLS, ModeSTARTTLS, ModeTLSWhenAvailable, ModeInsecure)
}
