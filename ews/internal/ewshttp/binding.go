package ewshttp

import (
	"bytes"
	"crypto/md5" //nolint:gosec // RFC 4121, section 4.1.1.2 has it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"errors"
)

const (
	avEOL      = 0
	avBindings = 0x000a // MsvAvChannelBindings
	infoField  = 40     // where TargetInfo is described: length, space, offset ([MS-NLMP], 2.2.1.2)
	infoEnd    = infoField + 8
)

// bindingOf returns the MD5 of the gss_channel_bindings structure (RFC 4121, section 4.1.1.2) of a TLS server end point, as
// [MS-NLMP], 3.1.5.1.2 wants it.
func bindingOf(endPoint []byte) [md5.Size]byte {
	data := "tls-server-end-point:" + string(endPoint)
	var b []byte
	b = append(b, make([]byte, 16)...) // no addresses
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return md5.Sum(append(b, data...))
}

// endPoint hashes a certificate with the hash of its signature, or SHA-256 where that is weaker (RFC 5929, section 4.1).
func endPoint(cert *x509.Certificate) []byte {
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		sum := sha512.Sum384(cert.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		sum := sha512.Sum512(cert.Raw)
		return sum[:]
	}
	sum := sha256.Sum256(cert.Raw)
	return sum[:]
}

// bind puts a channel binding into a challenge's target information, from where it gets into the answer and under its proof.
func bind(challenge []byte, binding [md5.Size]byte) ([]byte, error) {
	if len(challenge) < infoEnd {
		return nil, errors.New("the challenge is cut")
	}
	size := int(binary.LittleEndian.Uint16(challenge[infoField:]))
	offset := uint64(binary.LittleEndian.Uint32(challenge[infoField+4:]))
	if size > 0 && offset+uint64(size) > uint64(len(challenge)) {
		return nil, errors.New("the challenge's target information lies outside of it")
	}
	var info []byte
	if size > 0 {
		pairs := challenge[offset : offset+uint64(size)]
		for {
			if len(pairs) < 4 {
				return nil, errors.New("the challenge's target information has no end")
			}
			id, length := binary.LittleEndian.Uint16(pairs), int(binary.LittleEndian.Uint16(pairs[2:]))
			if id == avEOL {
				break
			}
			if len(pairs) < 4+length {
				return nil, errors.New("the challenge's target information is cut")
			}
			if id != avBindings {
				info = append(info, pairs[:4+length]...)
			}
			pairs = pairs[4+length:]
		}
	}
	info = binary.LittleEndian.AppendUint16(info, avBindings)
	info = binary.LittleEndian.AppendUint16(info, md5.Size)
	info = append(info, binding[:]...)
	info = append(info, 0, 0, 0, 0)
	if len(info) > 0xffff {
		return nil, errors.New("the challenge's target information is too long")
	}
	out := append(bytes.Clone(challenge), info...)
	binary.LittleEndian.PutUint16(out[infoField:], uint16(len(info)))
	binary.LittleEndian.PutUint16(out[infoField+2:], uint16(len(info)))
	binary.LittleEndian.PutUint32(out[infoField+4:], uint32(len(challenge)))
	return out, nil
}
