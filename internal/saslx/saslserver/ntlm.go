package saslserver

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // NTLM is what it is
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// ntlm verifies NTLM version 2 ([MS-NLMP]).
type ntlm struct {
	*Server
	challenge [8]byte
	info      []byte
}

// Flags of [MS-NLMP], 2.2.2.5.
const (
	flagUnicode       = 1 << 0
	flagRequestTarget = 1 << 2
	flagNTLM          = 1 << 9
	flagAlwaysSign    = 1 << 15
	flagTargetDomain  = 1 << 16
	flagExtended      = 1 << 19
	flagTargetInfo    = 1 << 23
	flag128           = 1 << 29
	flag56            = 1 << 31
)

const ntlmSignature = "NTLMSSP\x00"

func newNTLM(s *Server) *ntlm {
	m := &ntlm{Server: s, info: s.o.TargetInfo}
	_, _ = rand.Read(m.challenge[:]) // it never fails
	if m.info == nil {
		stamp := make([]byte, 8)
		binary.LittleEndian.PutUint64(stamp, fileTime(time.Now()))
		m.info = slices.Concat(avPair(2, utf16LE("DOM")), avPair(1, utf16LE("SERVER")), avPair(7, stamp), avPair(0, nil))
	}
	return m
}

// fileTime counts 100 ns from 1601.
func fileTime(t time.Time) uint64 { return uint64(t.UnixNano()/100) + 116444736000000000 }

// avPair is one pair of the target information ([MS-NLMP], 2.2.2.1).
func avPair(id uint16, value []byte) []byte {
	pair := binary.LittleEndian.AppendUint16(nil, id)
	pair = binary.LittleEndian.AppendUint16(pair, uint16(len(value)))
	return append(pair, value...)
}

// negotiate takes the client's first message and answers with the challenge ([MS-NLMP], 2.2.1.2).
func (m *ntlm) negotiate(response []byte) ([]byte, bool, error) {
	if len(response) < 16 || !bytes.HasPrefix(response, []byte(ntlmSignature+"\x01\x00\x00\x00")) {
		return nil, false, errors.New("want an NTLM negotiate message")
	}
	const header = 48
	name := utf16LE("DOM")
	flags := uint32(flagUnicode|flagRequestTarget|flagNTLM|flagAlwaysSign|flagTargetDomain|flagExtended|flag128|flag56) | m.o.NTLMFlags
	if len(m.info) > 0 {
		flags |= flagTargetInfo
	}
	b := append([]byte(ntlmSignature), 2, 0, 0, 0)
	b = appendField(b, len(name), header)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = append(b, m.challenge[:]...)
	b = append(b, make([]byte, 8)...)
	b = appendField(b, len(m.info), header+len(name))
	m.step = m.authenticate
	return slices.Concat(b, name, m.info), false, nil
}

func appendField(b []byte, size, offset int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(size))
	b = binary.LittleEndian.AppendUint16(b, uint16(size))
	return binary.LittleEndian.AppendUint32(b, uint32(offset))
}

// authenticate verifies the client's proof ([MS-NLMP], 3.3.2).
func (m *ntlm) authenticate(response []byte) ([]byte, bool, error) {
	if !bytes.HasPrefix(response, []byte(ntlmSignature+"\x03\x00\x00\x00")) {
		return nil, false, errors.New("want an NTLM authenticate message")
	}
	var fields [4][]byte // NT response, domain, user, workstation
	for i := range fields {
		var err error
		if fields[i], err = field(response, 20+8*i); err != nil {
			return nil, false, err
		}
	}
	m.who.Domain, m.who.User, m.who.Workstation = fromUTF16LE(fields[1]), fromUTF16LE(fields[2]), fromUTF16LE(fields[3])
	const proofSize, blobHeader = 16, 28
	nt := fields[0]
	if len(nt) < proofSize+blobHeader || !bytes.HasPrefix(nt[proofSize+blobHeader:], m.info) {
		return nil, false, errors.New("a response that is not of version 2, or without the server's target information")
	}
	password, known := m.password()
	key := ntowf2(password, m.who.User, m.who.Domain)
	if !known || !hmac.Equal(nt[:proofSize], hmacMD5(key, m.challenge[:], nt[proofSize:])) {
		return nil, false, ErrRefused
	}
	return nil, true, nil
}

// field reads the buffer that the length and offset at a place of the message name.
func field(message []byte, at int) ([]byte, error) {
	if len(message) < at+8 {
		return nil, errors.New("an NTLM message that is cut")
	}
	size := uint64(binary.LittleEndian.Uint16(message[at:]))
	offset := uint64(binary.LittleEndian.Uint32(message[at+4:]))
	if offset+size > uint64(len(message)) {
		return nil, errors.New("an NTLM buffer past the message's end")
	}
	return message[offset : offset+size], nil
}

// ntowf2 is the key of version 2 ([MS-NLMP], 3.3.2).
func ntowf2(password, user, domain string) []byte {
	digest := md4(utf16LE(password))
	return hmacMD5(digest[:], utf16LE(strings.ToUpper(user)+domain))
}

func hmacMD5(key []byte, data ...[]byte) []byte {
	mac := hmac.New(md5.New, key)
	for _, d := range data {
		mac.Write(d)
	}
	return mac.Sum(nil)
}

func utf16LE(s string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

func fromUTF16LE(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
