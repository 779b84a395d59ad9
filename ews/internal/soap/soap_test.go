package soap_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

const (
	envelopeStart = `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">` +
		`<s:Header><h:ServerVersionInfo MajorVersion="15" MinorVersion="1" MajorBuildNumber="2507" MinorBuildNumber="6" Version="V2017_07_11"` +
		` xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>`
	envelopeEnd = `</s:Body></s:Envelope>`
)

// answer wraps response messages into an answer as Exchange writes it.
func answer(op string, messages ...string) string {
	return envelopeStart + `<m:` + op + `Response xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages"` +
		` xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages>` + strings.Join(messages, "") +
		`</m:ResponseMessages></m:` + op + `Response>` + envelopeEnd
}

// success makes a successful response message around a payload.
func success(op, payload string) string {
	return `<m:` + op + `ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>` + payload + `</m:` + op + `ResponseMessage>`
}

// failure makes a response message of a failed item.
func failure(op, code string) string {
	return `<m:` + op + `ResponseMessage ResponseClass="Error"><m:MessageText>It failed.</m:MessageText><m:ResponseCode>` + code +
		`</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:` + op + `ResponseMessage>`
}

// item makes a GetItem response message of a message with that id and MIME, given as it stands in the answer.
func item(id, mime string) string {
	return success("GetItem", `<m:Items><t:Message><t:MimeContent CharacterSet="UTF-8">`+mime+`</t:MimeContent><t:ItemId Id="`+id+
		`" ChangeKey="CQ=="/><t:Subject>Hello</t:Subject></t:Message></m:Items>`)
}

func encode(octets string) string { return base64.StdEncoding.EncodeToString([]byte(octets)) }

// A delivery is what one response message came to.
type delivery struct {
	Response *soap.Response
	Octets   string // of the payload
	Err      error  // of the payload
}

// read reads a whole answer. The error is nil if it ended as it should.
func read(r *soap.Reader) ([]delivery, error) {
	var all []delivery
	for {
		resp, err := r.Next()
		switch {
		case err == io.EOF: //nolint:errorlint // the end is bare
			return all, nil
		case err != nil:
			return all, err
		}
		d := delivery{Response: resp}
		if body := resp.Body(); body != nil {
			var octets []byte
			octets, d.Err = io.ReadAll(body)
			d.Octets = string(octets)
		}
		all = append(all, d)
	}
}

// mustRead reads the answer to a request for the items with these ids, and fails the test if it is not one without any error.
func mustRead(t *testing.T, document, op string, ids ...string) []delivery {
	t.Helper()
	all, err := read(newReader(strings.NewReader(document), op, ids...))
	if err != nil {
		t.Fatalf("got %v, want an answer without error:\n%s", err, document)
	}
	for _, d := range all {
		if d.Err != nil {
			t.Fatalf("payload %d: %v", d.Response.Index, d.Err)
		}
	}
	return all
}

func newReader(r io.Reader, op string, ids ...string) *soap.Reader {
	reader := soap.NewReader(r, op)
	if len(ids) > 0 {
		var expect []soap.ItemID
		for _, id := range ids {
			expect = append(expect, soap.ItemID{ID: id})
		}
		reader.Expect(expect...)
	}
	return reader
}

// chunks returns readers of the same document that give it out in different pieces.
func chunks(document string) map[string]io.Reader {
	all := map[string]io.Reader{
		"whole":           strings.NewReader(document),
		"octet by octet":  iotest.OneByteReader(strings.NewReader(document)),
		"halves":          iotest.HalfReader(strings.NewReader(document)),
		"end with octets": iotest.DataErrReader(strings.NewReader(document)),
	}
	for seed := range uint64(3) {
		all[fmt.Sprintf("random %d", seed)] = &randomReader{strings.NewReader(document), rand.New(rand.NewPCG(seed, 1))}
	}
	return all
}

// A randomReader gives out pieces of random sizes, and at times none.
type randomReader struct {
	r    io.Reader
	rand *rand.Rand
}

func (r *randomReader) Read(p []byte) (int, error) {
	return r.r.Read(p[:min(len(p), r.rand.IntN(40))])
}

// pieces gives out one string with each Read.
type pieces []string

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; (*p)[0] == "" {
		*p = (*p)[1:]
	}
	return n, nil
}

func wantKind(t *testing.T, err error, kind connection.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
