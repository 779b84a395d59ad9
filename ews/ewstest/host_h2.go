package ewstest

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
)

// Frames of HTTP/2 (RFC 9113, 6) that the refusal needs.
const (
	frameHeaders   = 1
	frameRSTStream = 3
	frameSettings  = 4

	flagAck = 1

	http11Required = 0xd // RFC 9113, 7: HTTP_1_1_REQUIRED
)

const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// refuseHTTP2 answers each request over HTTP/2 with HTTP_1_1_REQUIRED, as IIS does where NTLM is wanted. It returns when
// the client closes the connection, or sends what is not HTTP/2.
func refuseHTTP2(_ *http.Server, c *tls.Conn, _ http.Handler) {
	preface := make([]byte, len(http2Preface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2Preface {
		return
	}
	if _, err := c.Write(frame(frameSettings, 0, 0, nil)); err != nil {
		return
	}
	for {
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, c, size); err != nil {
			return
		}
		var answer []byte
		switch stream := binary.BigEndian.Uint32(head[5:]) &^ (1 << 31); {
		case head[3] == frameSettings && head[4]&flagAck == 0:
			answer = frame(frameSettings, flagAck, 0, nil)
		case head[3] == frameHeaders:
			answer = frame(frameRSTStream, 0, stream, binary.BigEndian.AppendUint32(nil, http11Required))
		}
		if len(answer) > 0 {
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

// frame makes one frame (RFC 9113, 4.1).
func frame(kind, flags byte, stream uint32, body []byte) []byte {
	b := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), body...)
}
