package objecttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// A Certificate says what a server shows to prove who it is.
type Certificate string

// The certificates. CAPEM is what a client must trust to accept the good ones, and does not help with the others.
const (
	CertGood       Certificate = "good"        // for the loopback, by an authority of its own: CAPEM is that authority
	CertSelfSigned Certificate = "self-signed" // for the loopback: CAPEM is the certificate itself
	CertExpired    Certificate = "expired"     // as good, but it ended yesterday
	CertWrongName  Certificate = "wrong-name"  // as good, but for other.example
)

// An identity is a certificate with its key, and what clients are told of it. The zero identity is that of plain HTTP.
type identity struct {
	cert tls.Certificate
	pem  string
	pin  string
}

func newIdentity(kind Certificate, hosts []string) (identity, error) {
	leaf := template("objecttest")
	leaf.DNSNames = append([]string{"localhost", "*.localhost"}, hosts...)
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	switch kind {
	case "":
		return identity{}, nil
	case CertGood, CertSelfSigned:
	case CertExpired:
		leaf.NotAfter = time.Now().AddDate(0, 0, -1)
		leaf.NotBefore = leaf.NotAfter.AddDate(-1, 0, 0)
	case CertWrongName:
		leaf.DNSNames, leaf.IPAddresses = []string{"other.example"}, nil
	default:
		return identity{}, fmt.Errorf("certificate %q: want %s, %s, %s or %s", string(kind), CertGood, CertSelfSigned, CertExpired, CertWrongName)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	parent, signer := leaf, key
	if kind == CertSelfSigned {
		leaf.IsCA = true
		leaf.KeyUsage |= x509.KeyUsageCertSign
	} else {
		parent = template("objecttest authority")
		parent.IsCA = true
		parent.KeyUsage |= x509.KeyUsageCertSign
		if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return identity{}, err
		}
	}
	root, err := x509.CreateCertificate(rand.Reader, parent, parent, signer.Public(), signer)
	if err != nil {
		return identity{}, err
	}
	der := root
	if kind != CertSelfSigned {
		if der, err = x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), signer); err != nil {
			return identity{}, err
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return identity{}, err
	}
	pin := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return identity{
		cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed},
		pem:  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})),
		pin:  base64.StdEncoding.EncodeToString(pin[:]),
	}, nil
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().AddDate(0, 0, -2),
		NotAfter:              time.Now().AddDate(0, 6, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
}
