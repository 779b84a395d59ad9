package doubles

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
	"time"

	"github.com/mailconn/mailconn/connection"
)

// NewCertificate makes a self-signed certificate (ECDSA, P-256) with a common name for host names and IP addresses, valid
// until notAfter (which may be in the past: an expired one) and for a year before that.
func NewCertificate(name string, notAfter time.Time, hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notAfter.AddDate(-1, 0, 0),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// ServerTLS returns conf, or one with a certificate of its own for the loopback, with that common name, if it has none,
// and the PEM text that clients must trust. conf may be nil.
func ServerTLS(name string, conf *tls.Config) (*tls.Config, string, error) {
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	conf = conf.Clone()
	if len(conf.Certificates) == 0 && conf.GetCertificate == nil {
		cert, err := NewCertificate(name, time.Now().AddDate(0, 6, 0), "localhost", "127.0.0.1", "::1")
		if err != nil {
			return nil, "", err
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	if len(conf.Certificates) == 0 {
		return conf, "", nil
	}
	chain := conf.Certificates[0].Certificate
	root := chain[len(chain)-1]
	return conf, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})), nil
}

// Env returns an environment that trusts the certificate of ServerTLS, for drivers whose settings do not.
func Env(caPEM string) *connection.Env {
	if caPEM == "" {
		return &connection.Env{}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(caPEM))
	return &connection.Env{TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
}
