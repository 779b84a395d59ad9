package connection

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// NetworkSettings are the settings that all drivers of mail servers share. A driver's Config embeds them, so that their
// JSON fields stand beside its own.
type NetworkSettings struct {
	Server         string   `json:"server" label:"Server" help:"host or host:port; without a port the protocol's usual one for the mode"`
	Mode           Mode     `json:"mode,omitempty" label:"Connection mode" default:"tls" enum:"tls,starttls,tls-when-available,insecure" help:"tls: TLS from the start; starttls: upgrade or fail; tls-when-available: upgrade if offered; insecure: no TLS"`
	ConnectTimeout Duration `json:"connect_timeout,omitempty" label:"Connect timeout" help:"for dialling, TLS and greeting together, as \"30s\" or milliseconds; 0 = none. 30s is a good value" recommended:"30s"`
	NoDataTimeout  Duration `json:"no_data_timeout,omitempty" label:"No-data timeout" help:"give up when the server sends or takes nothing for so long; 0 = none. 60s is a good value" recommended:"60s"`
	TLSSettings
}

// TLSSettings say whom to trust. They are the part of the shared settings that HTTP drivers use too.
type TLSSettings struct {
	CAPEM                string   `json:"ca_pem,omitempty" label:"CA certificates" help:"PEM text of the authorities to trust instead of the system's"`
	ServerName           string   `json:"server_name,omitempty" label:"Server name" help:"name that the certificate must carry, if it is not the server's"`
	PinSHA256            []string `json:"pin_sha256,omitempty" label:"Pinned keys" help:"SHA-256 of the server's public key (SPKI), base64 or hex; one of them must match, and the authorities are then not asked"`
	AcceptAnyCertificate bool     `json:"accept_any_certificate,omitempty" label:"Accept any certificate" help:"dangerous: anybody on the path can read and change everything; pin_sha256 is the safe way to use a self-signed certificate"`
	ClientCertPEM        string   `json:"client_cert_pem,omitempty" label:"Client certificate" help:"PEM text, with intermediates if there are any"`
	ClientKeyPEM         Secret   `json:"client_key_pem,omitzero" label:"Client key" help:"PEM text of the client certificate's private key"`
	MinTLS               string   `json:"min_tls,omitempty" label:"Lowest TLS version" default:"1.2" enum:"1.0,1.1,1.2,1.3" help:"lower ones only for servers that cannot do better"`
}

// Validate checks the settings as Config.Validate does.
func (n *NetworkSettings) Validate() error {
	if n.Server == "" {
		return errors.New("server: missing")
	}
	if _, _, err := n.HostPort(0); err != nil {
		return err
	}
	if err := n.Mode.Validate(); err != nil {
		return err
	}
	if n.ConnectTimeout < 0 {
		return errors.New("connect_timeout: negative; 0 means none")
	}
	if n.NoDataTimeout < 0 {
		return errors.New("no_data_timeout: negative; 0 means none")
	}
	return n.TLSSettings.Validate()
}

// HostPort splits Server. A port that is not given is defaultPort.
func (n *NetworkSettings) HostPort(defaultPort int) (host string, port int, err error) {
	s := n.Server
	if strings.Contains(s, "://") || strings.ContainsAny(s, "/@") {
		return "", 0, errors.New("server: want host or host:port, not a URL or an address with a user name")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", 0, fmt.Errorf("server: %q: spaces or control characters", s)
	}
	if bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"); net.ParseIP(bare) != nil {
		return bare, defaultPort, nil // an IPv6 address without a port, with or without brackets
	}
	if !strings.Contains(s, ":") {
		return s, defaultPort, nil
	}
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("server: %q: want host or host:port", s)
	}
	if host == "" {
		return "", 0, fmt.Errorf("server: %q: the host is missing", s)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("server: %q: the port must be a number from 1 to 65535", s)
	}
	return host, port, nil
}

// Validate checks the settings as Config.Validate does: the PEM texts parse, the key fits the certificate, the pins are
// SHA-256 digests.
func (t *TLSSettings) Validate() error {
	if t.CAPEM != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CAPEM)) {
		return errors.New("ca_pem: no certificate in it: want PEM text that begins with -----BEGIN CERTIFICATE-----")
	}
	if _, err := t.Pins(); err != nil {
		return err
	}
	if _, err := t.minVersion(); err != nil {
		return err
	}
	if (t.ClientCertPEM == "") != t.ClientKeyPEM.IsZero() {
		if t.ClientCertPEM == "" {
			return errors.New("client_cert_pem: missing, but client_key_pem is set")
		}
		return errors.New("client_key_pem: missing, but client_cert_pem is set")
	}
	_, err := t.ClientCertificate()
	return err
}

// ClientCertificate returns the client certificate, nil if none is set.
func (t *TLSSettings) ClientCertificate() (*tls.Certificate, error) {
	if t.ClientCertPEM == "" {
		return nil, nil
	}
	if block, _ := pem.Decode([]byte(t.ClientCertPEM)); block == nil {
		return nil, errors.New("client_cert_pem: no PEM text: want one that begins with -----BEGIN CERTIFICATE-----")
	}
	if block, _ := pem.Decode([]byte(t.ClientKeyPEM.Reveal())); block == nil {
		return nil, errors.New("client_key_pem: no PEM text: want one that begins with -----BEGIN PRIVATE KEY-----")
	}
	cert, err := tls.X509KeyPair([]byte(t.ClientCertPEM), []byte(t.ClientKeyPEM.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("client_key_pem: does not fit client_cert_pem: %w", err)
	}
	return &cert, nil
}

// Pins returns the digests of PinSHA256.
func (t *TLSSettings) Pins() ([][sha256.Size]byte, error) {
	pins := make([][sha256.Size]byte, 0, len(t.PinSHA256))
	for _, text := range t.PinSHA256 {
		text = strings.TrimPrefix(strings.TrimSpace(text), "sha256/")
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != sha256.Size {
			raw, err = hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		}
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("pin_sha256: %q: want a SHA-256 digest in base64 (44 characters) or hex (64)", text)
		}
		pins = append(pins, [sha256.Size]byte(raw))
	}
	return pins, nil
}

func (t *TLSSettings) minVersion() (uint16, error) {
	switch t.MinTLS {
	case "", "1.2":
		return tls.VersionTLS12, nil
	case "1.0":
		return tls.VersionTLS10, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("min_tls: %q: want 1.0, 1.1, 1.2 or 1.3", t.MinTLS)
}

// Client returns a TLS configuration for host: a clone of base (which may be nil) with the settings on top. With
// PinSHA256 the server's key decides instead of the authorities; with AcceptAnyCertificate nothing does. What base's
// VerifyConnection demands holds in any case, and so does its MinVersion where that is above a MinTLS of 1.2.
func (t *TLSSettings) Client(host string, base *tls.Config) (*tls.Config, error) {
	conf := &tls.Config{}
	if base != nil {
		conf = base.Clone()
	}
	minVersion, err := t.minVersion()
	if err != nil {
		return nil, err
	}
	// 1.2 is also what JSON gets by default, which must not undo a host's stricter base.
	if conf.MinVersion == 0 || t.MinTLS != "" && (minVersion != tls.VersionTLS12 || conf.MinVersion < minVersion) {
		conf.MinVersion = minVersion
	}
	switch {
	case t.ServerName != "":
		conf.ServerName = t.ServerName
	case conf.ServerName == "":
		conf.ServerName = host
	}
	if t.CAPEM != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(t.CAPEM)) {
			return nil, errors.New("ca_pem: no certificate in it")
		}
	}
	cert, err := t.ClientCertificate()
	if err != nil {
		return nil, err
	}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	pins, err := t.Pins()
	if err != nil {
		return nil, err
	}
	switch {
	case len(pins) > 0:
		// The pin is the trust: the chain is not asked, but the key must match, on every handshake and resumption.
		conf.InsecureSkipVerify = true
		hosts := conf.VerifyConnection
		conf.VerifyConnection = func(state tls.ConnectionState) error {
			got := SPKI(state.PeerCertificates)
			switch {
			case !slices.Contains(pins, got):
				return fmt.Errorf("pin_sha256: the server's key is %s, which is not pinned", base64.StdEncoding.EncodeToString(got[:]))
			case hosts != nil:
				return hosts(state)
			}
			return nil
		}
	case t.AcceptAnyCertificate:
		conf.InsecureSkipVerify = true
	}
	return conf, nil
}

// SPKI returns the SHA-256 of the first certificate's public key, as PinSHA256 wants it.
func SPKI(chain []*x509.Certificate) [sha256.Size]byte {
	if len(chain) == 0 {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(chain[0].RawSubjectPublicKeyInfo)
}
