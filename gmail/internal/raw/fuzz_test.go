package raw_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/raw"
)

// FuzzRead holds Read against encoding/json and encoding/base64: what it reads they read as well, with the same octets, and
// the other way round. How the stream comes makes no difference, and what is cut is an error.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	for _, text := range []string{
		answer("SGVsbG8="), answer(`SGVsbG8\u003d`), answer(`\/\/+_-A`), answer(`QUJD\r\nQUJD`), answer("Q"), answer("QQ=Q"), answer(""),
		`{"raw":"SGk","x":[{"a":[]},null,1e5,"\ud83d\ude00"]}`, `{"id":"a","raw":null}`, `{"id":"a","raw":"SGk"} {}`, ` {"id":"\u0000","raw" : "SGk"}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := raw.Read(strings.NewReader(text), raw.Options{Memory: 8, Dir: dir})
		slow, slowErr := raw.Read(iotest.OneByteReader(strings.NewReader(text)), raw.Options{})
		if (err == nil) != (slowErr == nil) || connection.KindOf(err) != connection.KindOf(slowErr) {
			t.Fatalf("got %v, and %v octet by octet", err, slowErr)
		}
		want, ok := reference(text)
		if err != nil {
			if connection.KindOf(err) == connection.ErrUnknown {
				t.Errorf("got %v without a kind", err)
			}
			if ok {
				t.Errorf("got %v, want %q", err, want)
			}
			return
		}
		got, gotSlow := []byte(nil), []byte(nil)
		if m.HasRaw {
			got, gotSlow = mustRead(t, m.Body()), mustRead(t, slow.Body())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if !ok || !bytes.Equal(got, want) || !bytes.Equal(gotSlow, want) || int64(len(got)) != m.Size {
			t.Errorf("got %q and %q of %d, want %q, %v", got, gotSlow, m.Size, want, ok)
		}
		end := len(strings.TrimRight(text, " \t\r\n"))
		for at := range min(end, 200) {
			if m, err := raw.Read(strings.NewReader(text[:at]), raw.Options{}); m != nil || !connection.Temporary(err) {
				t.Fatalf("cut at %d: got %v, %v", at, m, err)
			}
		}
	})
}

// reference reads an answer by the standard library. It holds the message twice, and cannot tell that members come twice.
func reference(text string) ([]byte, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	var m struct {
		id, thread string
		labels     []string
	}
	var message []byte
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil || deep(value) {
			return nil, false
		}
		switch key {
		case "id":
			err = json.Unmarshal(value, &m.id)
		case "threadId":
			err = json.Unmarshal(value, &m.thread)
		case "labelIds":
			err = json.Unmarshal(value, &m.labels)
		case "raw":
			if message != nil {
				return nil, false
			}
			message, err = decoded(value)
		}
		if err != nil {
			return nil, false
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return message, m.id != "" || message != nil
}

// deep reports whether a value is nested too deep.
func deep(value []byte) bool {
	depth, deepest := 0, 0
	for d := json.NewDecoder(bytes.NewReader(value)); ; {
		token, err := d.Token()
		if err != nil {
			return deepest > 500
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// decoded decodes the value of raw; nothing is nil.
func decoded(value []byte) ([]byte, error) {
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, err
	}
	breaks := strings.Count(text, "\r") + strings.Count(text, "\n")
	text = strings.NewReplacer("+", "-", "/", "_", "\r", "", "\n", "").Replace(text)
	if breaks > len(text) {
		return nil, io.ErrUnexpectedEOF // more breaks than text; the fuzzer's texts are not that close to the limit
	}
	encoding := base64.URLEncoding
	if !strings.HasSuffix(text, "=") {
		encoding = base64.RawURLEncoding
	}
	data, err := encoding.DecodeString(text)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return data, nil
}
