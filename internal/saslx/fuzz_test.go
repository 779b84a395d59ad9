package saslx

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

const fuzzSecret = "canary-pass-7Q"

// sound fails the test if an error is none that may leave this package.
func sound(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if kind := connection.KindOf(err); kind == connection.ErrUnknown {
		t.Errorf("%v has no kind", err)
	}
	if text := err.Error(); strings.Contains(text, fuzzSecret) || strings.ContainsAny(text, "\r\n\x1b") || len(text) > 2000 {
		t.Errorf("the text %q must not be shown", text)
	}
}

// FuzzScram sends a SCRAM client what a server should not. Only who knows the password may end it with success.
func FuzzScram(f *testing.F) {
	f.Add("r=fyko+d2lbbFgONRv9qkxdawL3rfc,s=QSXCR+Q6sek8bf92,i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
	f.Add("r=fyko+d2lbbFgONRv9qkxdawL3rfc,s=QSXCR+Q6sek8bf92,i=4096,x=1", "e=other-error")
	f.Add("m=x,r=fyko+d2lbbFgONRv9qkxdawL3rfc,s=QSXCR+Q6sek8bf92,i=4096", "")
	f.Add("e=unknown-user", "")
	f.Fuzz(func(t *testing.T, first, final string) {
		m := &scram{
			name: ScramSHA256, hash: sha256.New, user: "user", password: connection.NewSecret(fuzzSecret), gs2: "n",
			nonce: "fyko+d2lbbFgONRv9qkxdawL", least: minIterations, keys: &keyCache{},
		}
		if _, _, iterations, err := m.parseFirst(first); err == nil && iterations > 2*minIterations {
			return // slow, and nothing new
		}
		x, err := begin(m, m.password)
		if err != nil {
			t.Fatal(err)
		}
		challenge(t, x, first, final)
		err = x.End(nil)
		if err == nil {
			t.Error("success without the password")
		}
		sound(t, err)
	})
}

// FuzzNTLM sends an NTLM client type 2 messages.
func FuzzNTLM(f *testing.F) {
	f.Add([]byte("NTLMSSP\x00\x02\x00\x00\x00\x06\x00\x06\x000\x00\x00\x00\x05\x82\x89\xa0\x01#Eg\x89\xab\xcd\xef\x00\x00\x00\x00\x00\x00\x00\x00\x0e\x00\x0e\x006\x00\x00\x00D\x00O\x00M\x00\x02\x00\x06\x00D\x00O\x00M\x00\x00\x00\x00\x00"))
	f.Add([]byte("NTLMSSP\x00\x02\x00\x00\x00\x00\x00\x00\x000\x00\x00\x00\x05\x82\x89\xa0\x01#Eg\x89\xab\xcd\xef\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x05\x000\x00\x00\x00\x02\x00\xff\x00x"))
	f.Add([]byte("NTLMSSP\x00\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		x, err := begin(&ntlm{name: `dom\juser`, password: connection.NewSecret(fuzzSecret)}, connection.Secret{})
		if err != nil {
			t.Fatal(err)
		}
		challenge(t, x, "", string(message))
		sound(t, x.End(nil))
	})
}

// FuzzRefusedToken sends the clients of tokens error challenges.
func FuzzRefusedToken(f *testing.F) {
	f.Add(`{"status":"401","schemes":"bearer","scope":"mail"}`)
	f.Add(`{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/.well-known/openid-configuration"}`)
	f.Add(`{"status":503}`)
	f.Add(`{"status":"` + fuzzSecret + `","scope":["a"]}`)
	f.Add("\xff{")
	f.Fuzz(func(t *testing.T, text string) {
		for _, old := range []bool{true, false} {
			x, err := begin(&bearer{user: "juser", token: connection.NewSecret(fuzzSecret), old: old}, connection.Secret{})
			if err != nil {
				t.Fatal(err)
			}
			x.Command(true)
			line, err := x.Answer(base64.StdEncoding.EncodeToString([]byte(text)))
			if want := map[bool]string{true: "", false: "AQ=="}[old]; err == nil && line != want {
				t.Errorf("answered with %q, want %q", line, want)
			}
			sound(t, err)
			if x.End(nil) == nil {
				t.Error("success after an error challenge")
			}
			sound(t, x.End(problem(connection.ErrAuth, "", "server said NO")))
		}
	})
}

// FuzzExchange sends each mechanism lines that need not even be base64.
func FuzzExchange(f *testing.F) {
	f.Add("", "", "")
	f.Add("VXNlcm5hbWU6", "UGFzc3dvcmQ6", "")
	f.Add("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+", " ", "\t")
	f.Add("not base64", "=", "====")
	f.Fuzz(func(t *testing.T, first, second, third string) {
		secret := connection.NewSecret(fuzzSecret)
		for _, mech := range []mechanism{&plain{user: "juser", password: secret}, &login{user: "juser", password: secret}, &cramMD5{user: "juser", password: secret}, &external{}} {
			x, err := begin(mech, secret)
			if err != nil {
				t.Fatal(err)
			}
			x.Command(false)
			for _, line := range []string{first, second, third} {
				answer, err := x.Answer(line)
				sound(t, err)
				if err != nil {
					break
				}
				if strings.ContainsAny(answer, "\r\n") {
					t.Errorf("%s: the line %q is two", x.Name(), answer)
				}
			}
			sound(t, x.End(nil))
		}
	})
}

// challenge sends x challenges until it will have no more.
func challenge(t *testing.T, x *Exchange, challenges ...string) {
	t.Helper()
	x.Command(len(challenges) > 0 && challenges[0] != "")
	for _, c := range challenges {
		line, err := x.Answer(base64.StdEncoding.EncodeToString([]byte(c)))
		sound(t, err)
		if err != nil || line == "*" {
			return
		}
	}
}
