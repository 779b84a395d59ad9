package raw_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/raw"
)

// octets are n octets in which each value, and so each digit of base64, comes soon.
func octets(n int) []byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// answer is an answer as Google writes it, with that text of the message.
func answer(text string) string {
	return `{"id":"18c0a1b2","threadId":"18c0a1b1","labelIds":["INBOX","Label_7"],"sizeEstimate":4711,"raw":"` + text +
		`","historyId":"98765432109876543210","internalDate":"1700000000123"}`
}

// ways are ways in which a stream comes.
var ways = map[string]func(io.Reader) io.Reader{
	"whole":         func(r io.Reader) io.Reader { return r },
	"octets":        iotest.OneByteReader,
	"halves":        iotest.HalfReader,
	"end with data": iotest.DataErrReader,
	"pieces":        func(r io.Reader) io.Reader { return &pieces{r, rand.New(rand.NewPCG(2, 3))} },
}

// pieces gives a stream in small pieces, and nothing now and then.
type pieces struct {
	r      io.Reader
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	return p.r.Read(b[:min(len(b), p.random.IntN(9))])
}

// content returns the octets of m's body, which are those of a second reader, too.
func content(t *testing.T, m *raw.Message) []byte {
	t.Helper()
	if err := iotest.TestReader(m.Body(), mustRead(t, m.Body())); err != nil {
		t.Error(err)
	}
	return mustRead(t, m.Body())
}

func mustRead(t *testing.T, r io.Reader) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// empty fails the test unless dir has no file.
func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("files are left: %q, %v", left, err)
	}
}

func TestMessage(t *testing.T) {
	m, err := raw.Read(strings.NewReader(answer("SGVsbG8=")), raw.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != "18c0a1b2" || m.ThreadID != "18c0a1b1" || m.HistoryID != "98765432109876543210" || m.InternalMS != 1700000000123 ||
		!m.Internal.Equal(time.UnixMilli(1700000000123)) || m.SizeEstimate != 4711 || m.Size != 5 || !m.HasRaw || !slices.Equal(m.Labels, []string{"INBOX", "Label_7"}) {
		t.Errorf("got %+v", m)
	}
	if got := content(t, m); string(got) != "Hello" {
		t.Errorf("got %q", got)
	}
}

// A message is the same in memory and in a file, whatever its length is modulo the quantum of base64, and however it comes.
func TestSizes(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 47, 4095, 4096, 4097, 70_000, 200_001} {
		want := octets(size)
		text := base64.URLEncoding.EncodeToString(want)
		for _, memory := range []int{0, -1, 1, size - 1, size, size + 1} {
			for way, by := range ways {
				if size > 1000 && way != "whole" && way != "pieces" || size > 50_000 && way != "whole" {
					continue
				}
				m, err := raw.Read(by(strings.NewReader(answer(text))), raw.Options{Memory: memory, Dir: dir})
				if err != nil {
					t.Fatalf("%d octets, %d in memory, %s: %v", size, memory, way, err)
				}
				if got := mustRead(t, m.Body()); !bytes.Equal(got, want) || m.Size != int64(size) {
					t.Errorf("%d octets, %d in memory, %s: got %d octets, or others", size, memory, way, m.Size)
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
	empty(t, dir)
}

// After Close nothing is read, not even from memory that belongs to another message by then.
func TestClosed(t *testing.T) {
	for _, memory := range []int{0, -1} {
		m, err := raw.Read(strings.NewReader(answer("SGVsbG8=")), raw.Options{Memory: memory, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		body := m.Body()
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
		if n, err := body.Read(make([]byte, 5)); n != 0 || !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %d, %v, want %v", n, err, os.ErrClosed)
		}
		if _, err := body.Seek(0, io.SeekStart); !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v, want %v", err, os.ErrClosed)
		}
	}
}

func TestG28Base64Forms(t *testing.T) {
	want := octets(1000) // leaves one octet for the last quantum
	url, std := base64.URLEncoding.EncodeToString(want), base64.StdEncoding.EncodeToString(want)
	escaped := func(s string) (all string) {
		for _, c := range []byte(s) {
			all += fmt.Sprintf(`\u%04x`, c)
		}
		return all
	}
	half := len(std) / 2
	for name, text := range map[string]string{
		"url":                  url,
		"url unpadded":         strings.TrimRight(url, "="),
		"standard":             std,
		"standard unpadded":    strings.TrimRight(std, "="),
		"both alphabets":       std[:half] + url[half:],
		`\u003d`:               strings.ReplaceAll(url, "=", `\u003d`),
		`\u003D`:               strings.ReplaceAll(url, "=", `\u003D`),
		`one = and one \u003d`: strings.Replace(url, "=", `\u003d`, 1),
		`\/`:                   strings.ReplaceAll(std, "/", `\/`),
		`\u002f and \u002B`:    strings.NewReplacer("/", `\u002f`, "+", `\u002B`).Replace(std),
		"all escaped":          escaped(url),
		"lines of MIME":        lines(std, 76, `\r\n`),
		"lines of 1":           lines(std, 1, `\u000a`),
	} {
		for way, by := range ways {
			m, err := raw.Read(by(strings.NewReader(answer(text))), raw.Options{})
			if err != nil {
				t.Errorf("%s, %s: %v", name, way, err)
				continue
			}
			if got := content(t, m); !bytes.Equal(got, want) {
				t.Errorf("%s, %s: got %d octets, want %d, or others", name, way, len(got), len(want))
			}
		}
	}
}

// lines breaks s after each n octets.
func lines(s string, n int, end string) (all string) {
	for part := range slices.Chunk([]byte(s), n) {
		all += string(part) + end
	}
	return all
}

func TestG28IllegalOctet(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(octets(90_000)) // in a file by then, and in the second buffer
	for name, text := range map[string]string{
		"exclamation mark": "QUJD!UJD", "blank": "QUJD QUJD", "asterisk at the end": "QUJD*", "octet above ASCII": "QUJD\xffUJD", "letter above ASCII": "QUJDäJD",
		"escape above ASCII": `QUJD\u0141`, "escape of another": `QUJD\t`, "unknown escape": `QUJD\x41`, "broken escape": `QUJD\u00zz`, "quotation mark": `QUJD\"`,
		"control character": "QUJD\nQUJD", "NUL": "QUJD\x00QUJD", "one digit too many": "QUJDQ", "one digit": "Q", "padding alone": "=", "padding at the start": "=QUJ",
		"padding of a full quantum": "QUJD=", "padding behind one digit": "QUJDQ===", "too little padding": "QUJDQQ=", "too much padding": "QUJDQUI==",
		"three of padding": "QUJDQQ===", "text behind the padding": "QUI=QUJD", "digit in the padding": "QQ=Q", "nothing but line breaks": strings.Repeat(`\n`, 100),
		"late": long + "!",
	} {
		for way, by := range ways {
			if len(text) > 1000 && way != "whole" {
				continue
			}
			dir := t.TempDir()
			m, err := raw.Read(by(strings.NewReader(answer(text))), raw.Options{Memory: -1, Dir: dir})
			if m != nil || connection.KindOf(err) != connection.ErrCorrupt || connection.Temporary(err) {
				t.Errorf("%s, %s: got %v, %v, want ErrCorrupt", name, way, m, err)
			}
			if err != nil && strings.Contains(err.Error(), "QUJD") {
				t.Errorf("%s: the error holds the message: %v", name, err)
			}
			empty(t, dir)
		}
	}
}

// The order, the spaces and what else is in an answer make no difference.
func TestG42OddAnswers(t *testing.T) {
	const whole = `"id":"a","threadId":"b","labelIds":["X"],"historyId":"7","internalDate":"5","sizeEstimate":9`
	for name, text := range map[string]string{
		"raw first":         `{"raw":"SGk","sizeEstimate":9,"internalDate":"5","historyId":"7","labelIds":["X"],"threadId":"b","id":"a"}`,
		"spaces":            " \t\r\n{ \"raw\" :\n\"SGk\" ,\r\n" + strings.ReplaceAll(whole, ":", " :\t") + "\n}\n \n",
		"nested raw":        `{"payload":{"raw":"WRONG","parts":[{"raw":"WRONG"},[{"raw":{"raw":"WRONG"}}]],"x":"}\"]"},` + whole + `,"raw":"SGk"}`,
		"raw in a text":     `{"snippet":"\"raw\":\"WRONG\",\\","raw":"SGk",` + whole + `}`,
		"other scalars":     `{"a":1.5e-7,"b":true,"c":false,"d":null,"e":-0,"f":"","raw":"SGk",` + whole + `}`,
		"empty containers":  `{"a":{},"b":[],"c":[ ],"d":{ },` + whole + `,"raw":"SGk"}`,
		"escaped names":     `{"r\u0061w":"SGk",` + strings.Replace(whole, `"id"`, `"\u0069d"`, 1) + `}`,
		"names in capitals": `{"RAW":"WRONG","Raw":"WRONG","ID":"WRONG","raw":"SGk",` + whole + `}`,
		"other types":       `{"raw":"SGk","id":"a","threadId":"b","labelIds":["X"],"historyId":7,"internalDate":5,"sizeEstimate":"9"}`,
		"leading zeros":     `{"raw":"SGk","id":"a","threadId":"b","labelIds":["X"],"historyId":"007","internalDate":"5","sizeEstimate":9}`,
		"null before":       `{"raw":null,` + whole + `,"raw":"SGk"}`,
	} {
		for way, by := range ways {
			m, err := raw.Read(by(strings.NewReader(text)), raw.Options{})
			if err != nil {
				t.Errorf("%s, %s: %v", name, way, err)
				continue
			}
			if got := content(t, m); string(got) != "Hi" {
				t.Errorf("%s, %s: got %q", name, way, got)
			}
			if m.ID != "a" || m.ThreadID != "b" || m.HistoryID != "7" || m.InternalMS != 5 || m.SizeEstimate != 9 || !slices.Equal(m.Labels, []string{"X"}) {
				t.Errorf("%s, %s: got %+v", name, way, m)
			}
		}
	}
}

// What is known about a message may be anything: it is handed over.
func TestNumbers(t *testing.T) {
	const wide = "179512345678901234567"
	for value, want := range map[string]*raw.Message{
		`"0"`:                    {HistoryID: "0", Internal: time.UnixMilli(0).UTC()},
		`0`:                      {HistoryID: "0", Internal: time.UnixMilli(0).UTC()},
		`"-86400000"`:            {Internal: time.UnixMilli(-86400000).UTC(), InternalMS: -86400000, SizeEstimate: -86400000},
		`"` + wide + `"`:         {HistoryID: wide},
		wide:                     {HistoryID: wide},
		`"9223372036854775807"`:  {HistoryID: "9223372036854775807", InternalMS: 1<<63 - 1, SizeEstimate: 1<<63 - 1},
		`"-9223372036854775808"`: {InternalMS: -1 << 63, SizeEstimate: -1 << 63},
		`""`:                     {}, `"tomorrow"`: {}, `null`: {}, `true`: {}, `1.5`: {}, `{"a":1}`: {}, `[1]`: {}, `"` + strings.Repeat("9", 101) + `"`: {},
	} {
		text := fmt.Sprintf(`{"id":"a","historyId":%s,"internalDate":%s,"sizeEstimate":%s,"raw":"SGk"}`, value, value, value)
		m, err := raw.Read(strings.NewReader(text), raw.Options{})
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if m.HistoryID != want.HistoryID || m.InternalMS != want.InternalMS || !m.Internal.Equal(want.Internal) || m.SizeEstimate != want.SizeEstimate || m.Size != 2 {
			t.Errorf("%s: got %+v", value, m)
		}
		if _, err := json.Marshal(m.Internal); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// An answer without a message is told from one with an empty message, which there is not.
func TestNoRaw(t *testing.T) {
	for _, text := range []string{`{"id":"a","labelIds":["CHAT"]}`, `{"id":"a","raw":null}`, `{"id":"a","raw":""}`, `{"raw":"","id":"a"}`} {
		m, err := raw.Read(strings.NewReader(text), raw.Options{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if m.ID != "a" || m.HasRaw || m.Body() != nil || m.Close() != nil {
			t.Errorf("%s: got %+v", text, m)
		}
	}
}

func TestBroken(t *testing.T) {
	for text, want := range map[string]connection.Kind{
		"<!DOCTYPE html><title>Log in</title>":  connection.ErrProtocol,
		`[{"id":"a","raw":"SGk"}]`:              connection.ErrProtocol,
		`"raw"`:                                 connection.ErrProtocol,
		`{}`:                                    connection.ErrProtocol,
		`{"error":{"code":403}}`:                connection.ErrProtocol,
		`{"id":"a","raw":"SGk"}{"id":"b"}`:      connection.ErrProtocol,
		`{"id":"a","raw":"SGk"} x`:              connection.ErrProtocol,
		`{"id":7,"raw":"SGk"}`:                  connection.ErrProtocol,
		`{"id":"a","labelIds":"X","raw":"SGk"}`: connection.ErrProtocol,
		`{"id":"a","threadId":[],"raw":"SGk"}`:  connection.ErrProtocol,
		`{"id":"a","raw":5}`:                    connection.ErrProtocol,
		`{"id":"a","raw":{"data":"SGk"}}`:       connection.ErrProtocol,
		`{"id":"a","raw":"SGk","raw":"SGk"}`:    connection.ErrCorrupt,
		`{"id":"a","raw":"SGk",}`:               connection.ErrCorrupt,
		`{"id":"a" "raw":"SGk"}`:                connection.ErrCorrupt,
		`{"id","raw":"SGk"}`:                    connection.ErrCorrupt,
		`{"id":"a","raw":"SGk"]`:                connection.ErrCorrupt,
		`{"id":"a","x":[1,],"raw":"SGk"}`:       connection.ErrCorrupt,
		`{"id":"a","x":tru,"raw":"SGk"}`:        connection.ErrCorrupt,
		`{"id":"a","x":01,"raw":"SGk"}`:         connection.ErrCorrupt,
		`{"id":"a","x":,"raw":"SGk"}`:           connection.ErrCorrupt,
		"{\"id\":\"a\nb\",\"raw\":\"SGk\"}":     connection.ErrCorrupt,
		`{"id":"a\x","raw":"SGk"}`:              connection.ErrCorrupt,
		`{"id":"a\u12g4","raw":"SGk"}`:          connection.ErrCorrupt,
		`{raw:"SGk"}`:                           connection.ErrCorrupt,
		``:                                      connection.ErrNetwork,
		" \n":                                   connection.ErrNetwork,
	} {
		m, err := raw.Read(strings.NewReader(text), raw.Options{})
		if m != nil || connection.KindOf(err) != want {
			t.Errorf("%s: got %+v, %v, want %v", text, m, err, want)
		}
	}
}

// An answer that is cut anywhere is an error that is worth a retry, although nearly every prefix of its text decodes, and
// nothing of it stays.
func TestG27CutAnywhere(t *testing.T) {
	whole := answer(base64.URLEncoding.EncodeToString(octets(300)))
	reset := errors.New("connection reset by peer")
	wrapped := fmt.Errorf("the proxy says: %w", io.EOF)
	for _, memory := range []int{0, -1} {
		dir := t.TempDir()
		for at := range len(whole) {
			for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, reset, wrapped} {
				m, err := raw.Read(io.MultiReader(strings.NewReader(whole[:at]), iotest.ErrReader(cause)), raw.Options{Memory: memory, Dir: dir})
				if m != nil || connection.KindOf(err) != connection.ErrNetwork || !connection.Temporary(err) {
					t.Fatalf("cut at %d of %d by %v: got %+v, %v", at, len(whole), cause, m, err)
				}
				if cause != io.EOF && !errors.Is(err, cause) { //nolint:errorlint // the bare one is what the table holds
					t.Fatalf("got %v, want %v in it", err, cause)
				}
			}
		}
		empty(t, dir)
	}
	// Nor is it whole if the stream fails behind the last brace: the checksum of gzip comes last.
	for _, cause := range []error{reset, wrapped} {
		if m, err := raw.Read(io.MultiReader(strings.NewReader(whole), iotest.ErrReader(cause)), raw.Options{}); m != nil || !errors.Is(err, cause) {
			t.Errorf("got %+v, %v, want %v", m, err, cause)
		}
	}
}

// The shortest case: what came decodes cleanly, and is not the message.
func TestG59TruncatedText(t *testing.T) {
	const want = "Subject: x\r\n\r\n"
	text := base64.URLEncoding.EncodeToString([]byte(want + "the rest"))
	cut := strings.TrimSuffix(answer(text[:20]), `","historyId":"98765432109876543210","internalDate":"1700000000123"}`)
	if plain, err := base64.URLEncoding.DecodeString(text[:20]); err != nil || !strings.HasPrefix(string(plain), want) {
		t.Fatalf("got %q, %v: this is no such case", plain, err)
	}
	m, err := raw.Read(strings.NewReader(cut), raw.Options{})
	if m != nil || !errors.Is(err, io.ErrUnexpectedEOF) || !connection.Temporary(err) {
		t.Errorf("got %+v, %v, want a temporary error", m, err)
	}
}

// The errors of a stream keep their kind and their cause.
func TestStreamErrors(t *testing.T) {
	throttled := &connection.Error{Kind: connection.ErrThrottled, RetryAfter: time.Minute, Err: errors.New("slow down")}
	for _, test := range []struct {
		cause error
		want  connection.Kind
	}{
		{context.Canceled, connection.ErrCanceled},
		{context.DeadlineExceeded, connection.ErrTimeout},
		{os.ErrDeadlineExceeded, connection.ErrTimeout},
		{&connection.Error{Kind: connection.ErrTLS}, connection.ErrTLS},
		{throttled, connection.ErrThrottled},
	} {
		_, err := raw.Read(io.MultiReader(strings.NewReader(`{"id":"a","raw":"SGk`), iotest.ErrReader(test.cause)), raw.Options{})
		var e *connection.Error
		if !errors.As(err, &e) || e.Kind != test.want || !errors.Is(err, test.cause) {
			t.Errorf("%v: got %v, want %v", test.cause, err, test.want)
		}
		if connection.RetryAfter(err) != connection.RetryAfter(test.cause) {
			t.Errorf("%v: got a wait of %s", test.cause, connection.RetryAfter(err))
		}
	}
	if _, err := raw.Read(silent{}, raw.Options{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want %v", err, io.ErrNoProgress)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func TestTooLarge(t *testing.T) {
	text := base64.URLEncoding.EncodeToString(octets(1000))
	for _, memory := range []int{0, -1} {
		dir := t.TempDir()
		if _, err := raw.Read(strings.NewReader(answer(text)), raw.Options{Memory: memory, Max: 999, Dir: dir}); !errors.Is(err, connection.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
		empty(t, dir)
		m, err := raw.Read(strings.NewReader(answer(text)), raw.Options{Memory: memory, Max: 1000, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// repeated is a text again and again, without end.
type repeated struct {
	text string
	at   int
	read int64
}

func (r *repeated) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k := copy(b[n:], r.text[r.at:])
		r.at = (r.at + k) % len(r.text)
		n += k
	}
	r.read += int64(n)
	return n, nil
}

// No answer is read without end.
func TestG60Endless(t *testing.T) {
	const most = 8 << 20
	for name, test := range map[string]struct {
		begin, again string
		want         connection.Kind
	}{
		"message":         {`{"id":"a","raw":"`, "QUJD", connection.ErrTooLarge},
		"escaped message": {`{"id":"a","raw":"`, `\u0041`, connection.ErrTooLarge},
		"line breaks":     {`{"id":"a","raw":"`, `\n`, connection.ErrCorrupt},
		"padding":         {`{"id":"a","raw":"QQ`, `=`, connection.ErrCorrupt},
		"blanks":          {``, ` `, connection.ErrProtocol},
		"blanks behind":   {`{"id":"a","raw":"QQ"}`, ` `, connection.ErrProtocol},
		"name":            {`{"`, `x`, connection.ErrProtocol},
		"id":              {`{"id":"`, `x`, connection.ErrProtocol},
		"labels":          {`{"labelIds":["X"`, `,"Label_1"`, connection.ErrProtocol},
		"number":          {`{"historyId":`, `9`, connection.ErrProtocol},
		"members":         {`{"a":1`, `,"a":1`, connection.ErrProtocol},
		"deep arrays":     {`{"a":`, `[`, connection.ErrProtocol},
		"deep objects":    {`{"a":`, `{"a":`, connection.ErrProtocol},
	} {
		dir := t.TempDir()
		endless := &repeated{text: test.again}
		m, err := raw.Read(io.MultiReader(strings.NewReader(test.begin), endless), raw.Options{Max: 1 << 17, Dir: dir})
		if m != nil || connection.KindOf(err) != test.want {
			t.Errorf("%s: got %v, %v, want %v", name, m, err, test.want)
		}
		if endless.read > most {
			t.Errorf("%s: %d octets were read, want at most %d", name, endless.read, most)
		}
		empty(t, dir)
	}
}

// Objects may be nested as deep as messages are, and the answer may hold some besides the message.
func TestLimitsAreWide(t *testing.T) {
	deep := strings.Repeat(`{"parts":[`, 200) + strings.Repeat(`]}`, 200)
	text := `{"id":"a","payload":` + deep + `,"snippet":"` + strings.Repeat("x", 900_000) + `","raw":"SGk"}`
	m, err := raw.Read(strings.NewReader(text), raw.Options{})
	if err != nil || m.Size != 2 {
		t.Fatalf("got %v, %v", m, err)
	}
}

// A folder for temporary files that cannot be written is told, with what to do.
func TestNoRoom(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	_, err := raw.Read(strings.NewReader(answer("SGVsbG8=")), raw.Options{Memory: -1, Dir: nowhere})
	var e *connection.Error
	if !errors.As(err, &e) || e.Hint == "" || connection.Temporary(err) {
		t.Errorf("got %v, want a lasting error with a hint", err)
	}
}
