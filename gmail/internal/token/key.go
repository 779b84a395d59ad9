package token

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

const (
	google     = "https://oauth2.googleapis.com/token" // where a setting names no other
	maxKeyFile = 64 << 10                              // octets; Google's have 2.4 KB
	minKeyBits = 1024                                  // crypto/rsa signs with no shorter one
	maxKeyBits = 8192                                  // a longer one would take seconds for each signature
)

// A keyFile is what is read of a service account's key. Its other fields, among them three URLs, are not looked at: a file that
// somebody else has written must not say where requests go, but for token_uri, whose host is checked.
type keyFile struct {
	Type       string `json:"type"`
	Project    string `json:"project_id"`
	KeyID      string `json:"private_key_id"`
	PrivateKey string `json:"private_key"`
	Email      string `json:"client_email"`
	ClientID   string `json:"client_id"`
	TokenURI   string `json:"token_uri"`
}

// CheckServiceAccount returns the error that [New] has for a key. typ is its type, also if that is wrong; "" = it cannot be read.
func CheckServiceAccount(data []byte, customHosts bool) (typ string, err error) {
	f, _, _, err := readKey(data, customHosts)
	return f.Type, err
}

func readKey(data []byte, customHosts bool) (f keyFile, key *rsa.PrivateKey, uri *url.URL, err error) {
	if len(data) > maxKeyFile {
		return f, nil, nil, fmt.Errorf("credentials: %d octets: too long for a service account's key", len(data))
	}
	if err := json.Unmarshal(data, &f); err != nil {
		// json's own text may quote what is in it.
		return keyFile{}, nil, nil, errors.New("credentials: not JSON; want the text of a service account's key file")
	}
	if f.Type != "service_account" {
		f.Type = printable(f.Type, maxCode)
		return f, nil, nil, fmt.Errorf("credentials: not a service-account key (type=%q)", f.Type)
	}
	if f.Email == "" {
		return f, nil, nil, errors.New("credentials: client_email: missing")
	}
	if key, err = parseRSA(f.PrivateKey); err != nil {
		return f, nil, nil, fmt.Errorf("credentials: private_key: %w", err)
	}
	if uri, err = checkTokenURI(f.TokenURI, customHosts); err != nil {
		return f, nil, nil, fmt.Errorf("credentials: token_uri: %w", err)
	}
	return f, key, uri, nil
}

func parseRSA(text string) (*rsa.PrivateKey, error) {
	if text == "" {
		return nil, errors.New("missing")
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("not PEM")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("not a private key") // the cause may show some of it
		}
		rsaKey, ok := any.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("not an RSA key")
		}
		key = rsaKey
	}
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return nil, fmt.Errorf("RSA key of %d bits: want %d to %d", bits, minKeyBits, maxKeyBits)
	}
	return key, nil
}

// checkTokenURI returns the URL of a token endpoint, Google's if text is empty. Hosts other than Google's, and http on loopback,
// need customHosts: who can write the settings would otherwise make this machine send requests where it likes.
func checkTokenURI(text string, customHosts bool) (*url.URL, error) {
	if text == "" {
		text = google
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Hostname() == "", u.Opaque != "", u.User != nil, u.Fragment != "":
		return nil, errors.New("want a URL such as " + google) // its text may hold a secret
	case u.Scheme == "http" && customHosts && loopback(u.Hostname()):
	case u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q: want https", printable(u.Scheme, maxCode))
	}
	if !customHosts && (!googleHost(u.Hostname()) || u.Port() != "" && u.Port() != "443") {
		return nil, fmt.Errorf("host %s not allowed", printable(u.Host, 100))
	}
	return u, nil
}

func googleHost(host string) bool {
	host = strings.ToLower(host)
	return host == "accounts.google.com" || strings.HasSuffix(host, ".googleapis.com")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keyed is a service account whose key is at hand. The key is in a closure, where fmt does not find it.
type keyed struct {
	exchange
	sign  func(header, claims any) (connection.Secret, error)
	keyID string
}

func newKeyed(data []byte, customHosts bool) (*keyed, error) {
	f, key, uri, err := readKey(data, customHosts)
	if err != nil {
		return nil, err
	}
	return &keyed{
		exchange: exchange{uri: uri, name: "credentials", uriField: "credentials: token_uri", email: f.Email, clientID: f.ClientID, project: f.Project},
		sign:     func(header, claims any) (connection.Secret, error) { return signRS256(key, header, claims) },
		keyID:    f.KeyID,
	}, nil
}
