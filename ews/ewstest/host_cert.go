package ewstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"
)

// A Certificate says what is wrong with the certificate that a host shows.
type Certificate uint8

// What certificates may be.
const (
	CertificateGood       Certificate = iota // for the host's name, from the server's CA
	CertificateWrongName                     // from the CA, for another name
	CertificateExpired                       // from the CA, for the name, until yesterday
	CertificateSelfSigned                    // for the name, from nobody
)

// elsewhere is the name in certificates for the wrong name.
const elsewhere = "elsewhere.invalid"

// An authority issues the certificates of a Server's hosts: one for each name and defect, when it is first wanted.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	mu     sync.Mutex
	issued map[issueKey]*tls.Certificate
}

type issueKey struct {
	name string
	kind Certificate
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := certificateTemplate("ewstest CA", time.Now().AddDate(1, 0, 0))
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key: key, cert: cert, issued: make(map[issueKey]*tls.Certificate)}, nil
}

func certificateTemplate(name string, notAfter time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notAfter.AddDate(-2, 0, 0),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, nil
}

// certificate returns the certificate that a host of that name shows.
func (a *authority) certificate(name string, kind Certificate) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := issueKey{name, kind}
	if cert := a.issued[key]; cert != nil {
		return cert, nil
	}
	cert, err := a.issue(name, kind)
	if err != nil {
		return nil, err
	}
	a.issued[key] = cert
	return cert, nil
}

func (a *authority) issue(name string, kind Certificate) (*tls.Certificate, error) {
	until := time.Now().AddDate(0, 6, 0)
	if kind == CertificateExpired {
		until = time.Now().AddDate(0, 0, -1)
	}
	template, err := certificateTemplate(name, until)
	if err != nil {
		return nil, err
	}
	switch ip := net.ParseIP(name); {
	case kind == CertificateWrongName:
		template.DNSNames = []string{elsewhere}
	case ip != nil:
		template.IPAddresses = []net.IP{ip}
	default:
		template.DNSNames = []string{name}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	parent, signer := a.cert, a.key
	if kind == CertificateSelfSigned {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// pem returns the text that clients must trust.
func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}
