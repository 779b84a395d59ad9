package saslx

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"testing"

	"github.com/emersion/go-sasl"

	"github.com/mailconn/mailconn/connection"
)

// The mechanisms plug in wherever go-sasl's do.
var _ sasl.Client = mechanism(nil)

// TestVectors holds each mechanism against the examples of its specification.
func TestVectors(t *testing.T) {
	secret := connection.NewSecret
	scramOf := func(name string, h func() hash.Hash, nonce string) *scram {
		return &scram{name: name, hash: h, user: "user", password: secret("pencil"), gs2: "n", nonce: nonce, least: minIterations, keys: &keyCache{}}
	}
	type step struct{ challenge, response string }
	for _, tt := range []struct {
		name    string
		mech    mechanism
		initial string // "-" for none
		steps   []step
	}{
		{"RFC 5802, 5: SCRAM-SHA-1", scramOf(ScramSHA1, sha1.New, "fyko+d2lbbFgONRv9qkxdawL"), "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", []step{
			{
				"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
				"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
			},
			{"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", ""},
		}},
		{"RFC 7677, 3: SCRAM-SHA-256", scramOf(ScramSHA256, sha256.New, "rOprNGfwEbeRWgbNEkqO"), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", []step{
			{
				"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
				"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			},
			{"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", ""},
		}},
		{"RFC 2195, 2: CRAM-MD5", &cramMD5{user: "tim", password: secret("tanstaaftanstaaf")}, "-", []step{
			{"<1896.697170952@postoffice.reston.mci.net>", "tim b913a602c7eda7a495b4e6e7334d3890"},
		}},
		{"RFC 4616, 4: PLAIN", &plain{user: "tim", password: secret("tanstaaftanstaaf")}, "\x00tim\x00tanstaaftanstaaf", nil},
		{"RFC 4616, 4: PLAIN for another", &plain{identity: "Ursel", user: "Kurt", password: secret("xipj3plmq")}, "Ursel\x00Kurt\x00xipj3plmq", nil},
		{
			"RFC 7628, 4.1 and 4.3: OAUTHBEARER",
			&bearer{user: "user@example.com", host: "server.example.com", port: 143, token: secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")},
			decode(t, "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"),
			[]step{{decode(t, "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="), "\x01"}},
		},
		{
			"Google's description of XOAUTH2",
			&bearer{old: true, user: "someuser@example.com", token: secret("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")},
			decode(t, "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="),
			[]step{{`{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}`, ""}},
		},
		{"RFC 4422, A.2: EXTERNAL", &external{}, "", nil},
		{"RFC 4422, A.2: EXTERNAL for another", &external{identity: "fred@example.com"}, "fred@example.com", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, initial, err := tt.mech.Start()
			if err != nil {
				t.Fatal(err)
			}
			if tt.initial == "-" {
				if initial != nil {
					t.Errorf("initial response: got %q, want none", initial)
				}
			} else if initial == nil || string(initial) != tt.initial {
				t.Errorf("initial response: got %q, want %q", initial, tt.initial)
			}
			for _, s := range tt.steps {
				got, err := tt.mech.Next([]byte(s.challenge))
				if err != nil || string(got) != s.response {
					t.Errorf("Next(%q): got %q, %v; want %q", s.challenge, got, err, s.response)
				}
			}
			if m, ok := tt.mech.(*scram); ok && m.complete() != nil {
				t.Errorf("the example's signature: %v", m.complete())
			}
		})
	}
}

func decode(t *testing.T, text string) string {
	t.Helper()
	octets, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

func TestPrepare(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		ok       bool
	}{
		{"user", "user", true}, // RFC 4013, 3
		{"USER", "USER", true},
		{"I\u00adX", "IX", true},
		{"\u00aa", "a", true},
		{"\u0007", "\u0007", false},
		{"\u06271", "\u06271", false},
		{"\u0627\u0628", "\u0627\u0628", true},
		{"a\u0627", "a\u0627", false},
		{"pass word ", "pass word ", true},
		{"p\u00a0w", "p w", true},
		{"Pa\u00dfw\u00f6rt\u20ac", "Pa\u00dfw\u00f6rt\u20ac", true},
		{"\uff21\uff42", "Ab", true},
		{"u\u0308", "\u00fc", true},
		{"\u2168", "IX", true},
		{"\U0001f511", "\U0001f511", false},
		{"\xff", "\xff", false},
		{"\u00ad", "", true},
	} {
		if got, ok := prepare(tt.in); got != tt.want || ok != tt.ok {
			t.Errorf("prepare(%q): got %q, %v; want %q, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestSaltedPasswordIsKept(t *testing.T) {
	var c keyCache
	password := connection.NewSecret("pencil")
	one, err := c.salted(sha256.New, ScramSHA256, password, []byte("salt"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.salted(sha256.New, ScramSHA256Plus, password, []byte("salt"), 4096)
	if err != nil || &one[0] != &again[0] {
		t.Errorf("the same salt and count: computed again (%v)", err)
	}
	for i := range 2 * maxKeys {
		if _, err := c.salted(sha256.New, ScramSHA256, password, []byte{byte(i)}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.keys) != maxKeys {
		t.Errorf("%d keys kept, want %d", len(c.keys), maxKeys)
	}
}
