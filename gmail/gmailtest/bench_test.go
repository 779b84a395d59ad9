package gmailtest_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// BenchmarkRaw is what the server gives out at most, so that clients' numbers can be told from its own.
func BenchmarkRaw(b *testing.B) {
	for name, size := range map[string]int64{"50MB": 50 << 20, "75KB": 75 << 10} {
		b.Run(name, func(b *testing.B) {
			srv, err := gmailtest.Listen(nil)
			if err != nil {
				b.Fatal(err)
			}
			defer srv.Close()
			srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
			id := srv.DeliverWith("ann@corp.example", nil, gmailtest.Delivery{Content: gmailtest.Synthetic{Octets: size}})
			client := &http.Transport{DialContext: srv.Env().Dial, DisableCompression: true}
			defer client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(b.Context(), "GET", srv.URL()+"/gmail/v1/users/me/messages/"+id+"?format=raw", nil)
			if err != nil {
				b.Fatal(err)
			}
			token := srv.Token("ann@corp.example")
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := bearer{token, client}.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
				if err := resp.Body.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
