package ewshttp

import (
	"bytes"
	"crypto/md5" //nolint:gosec // of the binding
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/Azure/go-ntlmssp"

	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// pair is an AV_PAIR ([MS-NLMP], 2.2.2.1).
func pair(id uint16, value string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

func challenge(t testing.TB, info []byte, flags uint32) []byte {
	t.Helper()
	s, err := saslserver.New("NTLM", &saslserver.Options{TargetInfo: info, NTLMFlags: flags})
	if err != nil {
		t.Fatal(err)
	}
	hello, err := ntlmssp.NewNegotiateMessage("", "")
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := s.Next(hello)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The value that other implementations test themselves with.
func TestBindingVector(t *testing.T) {
	hash, err := hex.DecodeString("E3CA49271E5089CC48CE82109F1324F41DBEDDC29A777410C738F7868C4FF405")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x", bindingOf(hash)), "6ea19df066da4622051f9c4f92c6df74"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// RFC 5929, section 4.1: the signature's own hash, but SHA-256 for MD5 and SHA-1.
func TestEndPoint(t *testing.T) {
	raw := []byte("a certificate")
	s256, s384, s512 := sha256.Sum256(raw), sha512.Sum384(raw), sha512.Sum512(raw)
	for algorithm, want := range map[x509.SignatureAlgorithm][]byte{
		x509.MD5WithRSA: s256[:], x509.SHA1WithRSA: s256[:], x509.ECDSAWithSHA1: s256[:], x509.PureEd25519: s256[:],
		x509.SHA256WithRSA: s256[:], x509.ECDSAWithSHA256: s256[:], x509.SHA256WithRSAPSS: s256[:],
		x509.SHA384WithRSA: s384[:], x509.ECDSAWithSHA384: s384[:], x509.SHA384WithRSAPSS: s384[:],
		x509.SHA512WithRSA: s512[:], x509.ECDSAWithSHA512: s512[:], x509.SHA512WithRSAPSS: s512[:],
	} {
		if got := endPoint(&x509.Certificate{Raw: raw, SignatureAlgorithm: algorithm}); !bytes.Equal(got, want) {
			t.Errorf("%v: got %x, want %x", algorithm, got, want)
		}
	}
}

func TestBind(t *testing.T) {
	binding := [md5.Size]byte{1, 2, 3}
	bound := pair(avBindings, string(binding[:]))
	names := slices.Concat(pair(2, "D\x00"), pair(7, "12345678"))
	end := pair(avEOL, "")
	for name, test := range map[string]struct {
		info, want []byte // want nil: refused
	}{
		"names":               {slices.Concat(names, end), slices.Concat(names, bound, end)},
		"none":                {[]byte{}, slices.Concat(bound, end)},
		"only the end":        {end, slices.Concat(bound, end)},
		"one of the server's": {slices.Concat(pair(avBindings, "0123456789abcdef"), names, end), slices.Concat(names, bound, end)},
		"behind the end":      {slices.Concat(names, end, []byte("junk")), slices.Concat(names, bound, end)},
		"no end":              {names, nil},
		"cut":                 {slices.Concat(names, []byte{2, 0, 9, 0}), nil},
		"cut in the head":     {slices.Concat(names, []byte{2}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := challenge(t, test.info, 0)
			before := bytes.Clone(c)
			got, err := bind(c, binding)
			if !bytes.Equal(c, before) {
				t.Error("the challenge was changed")
			}
			if test.want == nil {
				if err == nil {
					t.Errorf("got %x", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if info := infoOf(t, got); !bytes.Equal(info, test.want) {
				t.Errorf("got %x, want %x", info, test.want)
			}
			if !bytes.Equal(got[:infoField], c[:infoField]) {
				t.Error("more than the target information has changed")
			}
			message, err := ntlmssp.NewAuthenticateMessage(got, "user", "password", nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(message, test.want) {
				t.Error("the binding is not in the answer")
			}
		})
	}
	if _, err := bind([]byte("short"), binding); err == nil {
		t.Error("a cut challenge was taken")
	}
	outside := challenge(t, names, 0)
	binary.LittleEndian.PutUint32(outside[infoField+4:], 1<<31)
	if _, err := bind(outside, binding); err == nil {
		t.Error("an offset outside was taken")
	}
}

func infoOf(t testing.TB, challenge []byte) []byte {
	t.Helper()
	size, offset := binary.LittleEndian.Uint16(challenge[infoField:]), binary.LittleEndian.Uint32(challenge[infoField+4:])
	if int(offset)+int(size) > len(challenge) {
		t.Fatalf("target information at %d of %d octets in a challenge of %d", offset, size, len(challenge))
	}
	return challenge[offset : int(offset)+int(size)]
}

// FuzzChallenge: no challenge of a server makes the client panic, and a binding put into a challenge that can be answered
// leaves one that can be answered, with the binding in the answer and the other pairs unchanged.
func FuzzChallenge(f *testing.F) {
	f.Add(challenge(f, nil, 0))
	f.Add(challenge(f, []byte{}, 0))
	f.Add(challenge(f, nil, 1<<30))
	f.Add([]byte("NTLMSSP\x00\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, c []byte) {
		binding := md5.Sum(c)
		bound, err := bind(c, binding)
		if err != nil {
			if bound != nil {
				t.Error("an error and a challenge")
			}
			return
		}
		info := infoOf(t, bound)
		if want := append(pair(avBindings, string(binding[:])), 0, 0, 0, 0); !bytes.HasSuffix(info, want) {
			t.Errorf("target information %x", info)
		}
		twice, err := bind(bound, binding)
		if err != nil || !bytes.Equal(infoOf(t, twice), info) {
			t.Errorf("bound again: %x, %v, want %x", infoOf(t, twice), err, info)
		}
		plain, err := ntlmssp.NewAuthenticateMessage(c, "user", "password", nil)
		if err != nil || len(plain) == 0 {
			return
		}
		message, err := ntlmssp.NewAuthenticateMessage(bound, "user", "password", nil)
		if err != nil {
			t.Fatalf("a challenge that could be answered cannot any more: %v", err)
		}
		if !bytes.Contains(message, binding[:]) {
			t.Error("the binding is not in the answer")
		}
	})
}

// FuzzOffers: what is read from WWW-Authenticate are names and tokens that stand in it.
func FuzzOffers(f *testing.F) {
	f.Add(`Negotiate, NTLM TlRMTVNTUAACAAAA, Basic realm="a, \"b\"", charset="UTF-8"`)
	f.Fuzz(func(t *testing.T, line string) {
		list := offers(map[string][]string{"Www-Authenticate": {line}})
		for _, o := range list {
			if o.name == "" || !bytes.Contains([]byte(line), []byte(o.name)) || !bytes.Contains([]byte(line), []byte(o.token)) {
				t.Errorf("offer %+v of %q", o, line)
			}
		}
		if challenge, ok := challengeOf(list, schemeNTLM); ok && len(challenge) > maxChallenge {
			t.Errorf("a challenge of %d octets", len(challenge))
		}
	})
}
