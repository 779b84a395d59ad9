package objecttest

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

func TestCertificates(t *testing.T) {
	for kind, trusted := range map[Certificate]bool{CertGood: true, CertSelfSigned: true, CertExpired: false, CertWrongName: false} {
		t.Run(string(kind), func(t *testing.T) {
			srv := newPigeonhole(t, ServerOptions{TLS: kind, Hosts: []string{"*.bucket.example"}})
			try := func(env *connection.Env, dial connection.DialFunc, url string) error {
				_, _, _, err := ask(t.Context(), clientOf(t, env, dial), http.MethodGet, url, nil)
				return err
			}
			if err := try(&connection.Env{}, nil, srv.URL()); connection.KindOf(err) != connection.ErrTLS {
				t.Errorf("without CAPEM: got %v", err)
			}
			if n := srv.Connections(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			err := try(srv.Env(), nil, srv.URL())
			switch {
			case trusted && err != nil:
				t.Errorf("with CAPEM: %v", err)
			case !trusted && connection.KindOf(err) != connection.ErrTLS:
				t.Errorf("with CAPEM: got %v, want a tls failure", err)
			}
			if err := try(srv.Env(), srv.Dial, "https://archive.bucket.example"); (err == nil) != trusted {
				t.Errorf("by another name: %v", err)
			}
			settings := connection.TLSSettings{PinSHA256: []string{srv.Pin()}}
			conf, err := settings.Client("127.0.0.1", nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := try(&connection.Env{TLS: conf}, nil, srv.URL()); err != nil {
				t.Errorf("with Pin: %v", err)
			}
		})
	}
	s := new(Server)
	if err := s.start(ServerOptions{TLS: "forged"}, nil); err == nil || !strings.Contains(err.Error(), "self-signed") {
		t.Errorf("a certificate that is none: got error %v", err)
	}
}

func rootsOf(t testing.TB, srv *pigeonhole) *x509.CertPool {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(srv.CAPEM())) {
		t.Fatal("CAPEM holds no certificate")
	}
	return pool
}
