package saslserver

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

func TestMD4(t *testing.T) { // RFC 1320, A.5
	for in, want := range map[string]string{
		"":    "31d6cfe0d16ae931b73c59d7e0c089c0",
		"abc": "a448017aaf21d8525fc10ae87aa6729d",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789":                   "043f8582f241db351ce627e153e7f0e4",
		"12345678901234567890123456789012345678901234567890123456789012345678901234567890": "e33b4ddc9c38f2199c3e7b164fcc0536",
	} {
		if sum := md4([]byte(in)); hex.EncodeToString(sum[:]) != want {
			t.Errorf("md4(%q): got %x, want %s", in, sum, want)
		}
	}
}

// TestNTLMVerifierAcceptsTheSpecification holds the verifier against [MS-NLMP], 4.2.1 and 4.2.4: the user User of Domain
// with the password Password.
func TestNTLMVerifierAcceptsTheSpecification(t *testing.T) {
	if got := hex.EncodeToString(ntowf2("Password", "User", "Domain")); got != "0c868a403bfd7a93a3001ef22ef02e3f" {
		t.Errorf("NTOWFv2: got %s", got)
	}
	info := slices.Concat(avPair(2, utf16LE("Domain")), avPair(1, utf16LE("Server")), avPair(0, nil))
	blob := slices.Concat([]byte{1, 1, 0, 0, 0, 0, 0, 0}, make([]byte, 8), slices.Repeat([]byte{0xaa}, 8), make([]byte, 4), info, make([]byte, 4))
	proof, err := hex.DecodeString("68cd0ab851e51c96aabc927bebef6a1c")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		password string
		known    bool
		want     error
	}{{"Password", true, nil}, {"password", true, ErrRefused}, {"Password", false, ErrRefused}} {
		s, err := New("NTLM", &Options{
			TargetInfo: info,
			Password: func(who Identity) (string, bool) {
				if who.User != "User" || who.Domain != "Domain" || who.Workstation != "COMPUTER" {
					t.Errorf("who: %+v", who)
				}
				return tt.password, tt.known
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		m := newNTLM(s)
		binary.BigEndian.PutUint64(m.challenge[:], 0x0123456789abcdef)
		parts := [][]byte{nil, slices.Concat(proof, blob), utf16LE("Domain"), utf16LE("User"), utf16LE("COMPUTER"), nil}
		message, at := []byte(ntlmSignature+"\x03\x00\x00\x00"), 64
		for _, part := range parts {
			message = appendField(message, len(part), at)
			at += len(part)
		}
		message = append(message, 0, 0, 0, 0)
		_, done, err := m.authenticate(slices.Concat(append([][]byte{message}, parts...)...))
		if !errors.Is(err, tt.want) || done != (tt.want == nil) {
			t.Errorf("%q, known %v: got %v, %v; want %v", tt.password, tt.known, done, err, tt.want)
		}
	}
}

func TestNTLMVerifierRefusesBuffersPastTheEnd(t *testing.T) {
	s, err := New("NTLM", nil)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte(ntlmSignature + "\x03\x00\x00\x00")
	for range 6 {
		message = appendField(message, 10, 1<<20)
	}
	if _, done, err := newNTLM(s).authenticate(message); err == nil || done || errors.Is(err, ErrRefused) {
		t.Errorf("got %v, %v; want an error about the message", done, err)
	}
}

// A client that answers an error challenge wrongly does not follow the mechanism, which is another error.
func TestErrorChallengeWantsItsAnswer(t *testing.T) {
	for mechanism, initial := range map[string]string{"XOAUTH2": "user=a\x01auth=Bearer t\x01\x01", "OAUTHBEARER": "n,a=a,\x01auth=Bearer t\x01\x01"} {
		for _, answer := range []string{"", "\x01", "?"} {
			s, err := New(mechanism, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Next([]byte(initial)); err != nil {
				t.Fatal(err)
			}
			right := mechanism == "XOAUTH2" && answer == "" || mechanism == "OAUTHBEARER" && answer == "\x01"
			if _, _, err := s.Next([]byte(answer)); err == nil || errors.Is(err, ErrRefused) != right {
				t.Errorf("%s answered with %q: got %v", mechanism, answer, err)
			}
		}
	}
}

func FuzzServer(f *testing.F) {
	for _, name := range Mechanisms() {
		f.Add(name, []byte("n,,n=user,r=abc"), []byte("c=biws,r=abc,p=AAAA"), []byte{})
	}
	f.Add("PLAIN", []byte("\x00a\x00b"), []byte{}, []byte{})
	f.Add("NTLM", []byte(ntlmSignature+"\x01\x00\x00\x00\x00\x00\x00\x00"), []byte(ntlmSignature+"\x03\x00\x00\x00"), []byte{})
	f.Add("XOAUTH2", []byte("user=a\x01auth=Bearer t\x01\x01"), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, name string, first, second, third []byte) {
		s, err := New(name, nil)
		if err != nil {
			return
		}
		for _, response := range [][]byte{first, second, third} {
			_, done, err := s.Next(response)
			if done {
				t.Fatalf("%s: a server that knows nobody lets %+v in", name, s.Identity())
			}
			if err != nil {
				return
			}
		}
	})
}
