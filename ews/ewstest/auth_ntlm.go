package ewstest

import (
	"bytes"
	"crypto/md5" //nolint:gosec // channel bindings are hashed so ([MS-NLMP], 3.1.5.1.2)
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"slices"
	"time"
	"unicode/utf16"

	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// Attribute-value pairs of [MS-NLMP], 2.2.2.1.
const (
	avEnd         = 0x0
	avComputer    = 0x1
	avDomain      = 0x2
	avDNSComputer = 0x3
	avDNSDomain   = 0x4
	avTimestamp   = 0x7
	avBindings    = 0xa
)

// Places in NTLM's messages ([MS-NLMP], 2.2.1).
const (
	ntlmFlagsAt     = 20 // of a challenge
	ntlmChallengeAt = 24
	ntlmHeader      = 48
	ntResponseAt    = 20 // of an authenticate message
	proofSize       = 16
	blobHeader      = 28
)

const ntlmSignature = "NTLMSSP\x00"

// Kinds of messages, behind the signature.
const (
	ntlmNegotiate    = 1
	ntlmAuthenticate = 3
)

// ntlmKind returns the kind of a message, 0 if it is none of NTLM.
func ntlmKind(message []byte) uint32 {
	if len(message) < len(ntlmSignature)+4 || string(message[:len(ntlmSignature)]) != ntlmSignature {
		return 0
	}
	return binary.LittleEndian.Uint32(message[len(ntlmSignature):])
}

// A verifier is the server's half of one NTLM exchange. The proof is checked by the verifier of all of this module's
// servers; the challenge is Exchange's.
type verifier struct {
	half *saslserver.Server
}

// verifierOptions say how the challenge looks.
type verifierOptions struct {
	domain    string // NetBIOS
	dnsDomain string
	now       time.Time
	noInfo    bool   // no target information
	flags     uint32 // besides the usual ones
	password  func(saslserver.Identity) (string, bool)
}

func newVerifier(o verifierOptions) (*verifier, error) {
	info := []byte{}
	if !o.noInfo {
		stamp := binary.LittleEndian.AppendUint64(nil, uint64(o.now.UnixNano()/100)+116444736000000000) // 100 ns from 1601
		info = slices.Concat(avPair(avDomain, utf16LE(o.domain)), avPair(avComputer, utf16LE("EXCH")), avPair(avDNSDomain, utf16LE(o.dnsDomain)),
			avPair(avDNSComputer, utf16LE("exch."+o.dnsDomain)), avPair(avTimestamp, stamp))
	}
	half, err := saslserver.New("NTLM", &saslserver.Options{
		Password:   o.password,
		TargetInfo: info, // without its end: clients put pairs of their own before that
		NTLMFlags:  o.flags,
		Tamper: func(_ int, challenge []byte) []byte {
			if len(info) > 0 {
				return buildChallenge(challenge, o.domain, slices.Concat(info, avPair(avEnd, nil)))
			}
			return buildChallenge(challenge, o.domain, nil)
		},
	})
	if err != nil {
		return nil, err
	}
	return &verifier{half: half}, nil
}

// buildChallenge makes a challenge for a domain with the flags and the nonce of another.
func buildChallenge(from []byte, domain string, info []byte) []byte {
	name := utf16LE(domain)
	b := append([]byte(ntlmSignature), 2, 0, 0, 0)
	b = appendField(b, len(name), ntlmHeader)
	b = append(b, from[ntlmFlagsAt:ntlmChallengeAt+8]...)
	b = append(b, make([]byte, 8)...)
	b = appendField(b, len(info), ntlmHeader+len(name))
	return slices.Concat(b, name, info)
}

func appendField(b []byte, size, offset int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(size)) //nolint:gosec // names are short
	b = binary.LittleEndian.AppendUint16(b, uint16(size)) //nolint:gosec // names are short
	return binary.LittleEndian.AppendUint32(b, uint32(offset))
}

func avPair(id uint16, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, id)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value))) //nolint:gosec // values are short
	return append(b, value...)
}

func utf16LE(s string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

// challenge answers a client's negotiate message.
func (v *verifier) challenge(negotiate []byte) ([]byte, error) {
	challenge, _, err := v.half.Next(negotiate)
	return challenge, err
}

// verify checks a client's authenticate message, and returns who it says it is and the channel bindings that it holds, nil
// if there are none. The error for a wrong proof is saslserver.ErrRefused.
func (v *verifier) verify(authenticate []byte) (who saslserver.Identity, bindings []byte, err error) {
	_, _, err = v.half.Next(authenticate)
	who = v.half.Identity()
	if err != nil {
		return who, nil, err
	}
	bindings, err = clientBindings(authenticate)
	return who, bindings, err
}

// clientBindings finds the channel bindings in an authenticate message whose proof covers them.
func clientBindings(message []byte) ([]byte, error) {
	broken := errors.New("the attribute-value pairs of the response are cut")
	if len(message) < ntResponseAt+8 {
		return nil, broken
	}
	size := uint64(binary.LittleEndian.Uint16(message[ntResponseAt:]))
	offset := uint64(binary.LittleEndian.Uint32(message[ntResponseAt+4:]))
	if offset+size > uint64(len(message)) || size < proofSize+blobHeader {
		return nil, broken
	}
	for pairs := message[offset+proofSize+blobHeader : offset+size]; len(pairs) >= 4; {
		id, length := binary.LittleEndian.Uint16(pairs), int(binary.LittleEndian.Uint16(pairs[2:]))
		switch pairs = pairs[4:]; {
		case id == avEnd:
			return nil, nil
		case length > len(pairs):
			return nil, broken
		case id == avBindings && !bytes.Equal(pairs[:length], make([]byte, length)): // all zero says that there are none
			return pairs[:length], nil
		}
		pairs = pairs[length:]
	}
	return nil, nil // a client that was given no pairs may send none, not even their end
}

// channelBindings are what a client must send for a server's certificate: the hash of the gss_channel_bindings_struct (RFC
// 2744, 3.11) with tls-server-end-point (RFC 5929, 4).
func channelBindings(leaf *x509.Certificate) []byte {
	hash := sha256.Sum256(leaf.Raw) // the certificates of an authority are signed with SHA-256
	data := append([]byte("tls-server-end-point:"), hash[:]...)
	b := make([]byte, 16) // no addresses
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	sum := md5.Sum(append(b, data...)) //nolint:gosec // see above
	return sum[:]
}
