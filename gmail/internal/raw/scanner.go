package raw

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

const (
	bufferSize = 64 << 10
	restLimit  = 1 << 20 // octets of an answer besides the base64 text
	depthLimit = 512     // of nesting; each part of a message takes two levels
	idleReads  = 100     // reads without octets until the reader is taken for stuck
)

// A scanner reads JSON (RFC 8259) octet by octet from a stream. Only what is asked for is kept.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int   // of what was read and not yet taken
	err      error // of r, once it has failed or ended
	rest     int   // octets taken besides base64 text

	keeping int    // while not 0 the octets taken are appended to kept
	kept    []byte // see keep
}

// reset makes s ready for r.
func (s *scanner) reset(r io.Reader) {
	*s = scanner{r: r, buf: s.buf, kept: s.kept[:0]}
}

// fill reads more, if all that was read is taken.
func (s *scanner) fill() error {
	if s.pos < s.end {
		return nil
	}
	for range idleReads {
		if s.err != nil {
			return s.err
		}
		n, err := s.r.Read(s.buf)
		s.pos, s.end, s.err = 0, n, err
		if n > 0 {
			return nil
		}
	}
	if s.err == nil {
		s.err = io.ErrNoProgress
	}
	return s.err
}

// next takes one octet of anything but base64 text.
func (s *scanner) next() (byte, error) {
	if s.pos == s.end {
		if err := s.fill(); err != nil {
			return 0, cut(err)
		}
	}
	if s.rest++; s.rest > restLimit {
		return 0, protocol("the answer holds more than %d octets besides the message", restLimit)
	}
	c := s.buf[s.pos]
	s.pos++
	if s.keeping > 0 {
		s.kept = append(s.kept, c)
	}
	return c, nil
}

// unread gives back the octet that next or token returned last.
func (s *scanner) unread() {
	s.pos--
	s.rest--
	if s.keeping > 0 {
		s.kept = s.kept[:len(s.kept)-1]
	}
}

// token takes the first octet that is no white space.
func (s *scanner) token() (byte, error) {
	for {
		c, err := s.next()
		if err != nil || !space(c) {
			return c, err
		}
	}
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// keep begins to keep the octets taken, behind the place that it returns. A drop belongs to each keep; they may nest.
func (s *scanner) keep() int {
	s.keeping++
	return len(s.kept)
}

func (s *scanner) drop() {
	if s.keeping--; s.keeping == 0 {
		s.kept = s.kept[:0]
	}
}

// cut returns the error of a stream that failed or ended where it must not.
func cut(err error) error {
	if err == io.EOF { //nolint:errorlint // one that wraps it is a failure of its own
		err = io.ErrUnexpectedEOF
	}
	kind := connection.KindOf(err)
	if kind == connection.ErrUnknown {
		kind = connection.ErrNetwork
	}
	return &connection.Error{Kind: kind, RetryAfter: connection.RetryAfter(err), Err: fmt.Errorf("the answer broke off: %w", err)}
}

// finish takes the rest of the stream, which must be white space.
func (s *scanner) finish() error {
	for {
		switch err := s.fill(); {
		case err == io.EOF: //nolint:errorlint // only the bare one is the end
			return nil
		case err != nil:
			return cut(err)
		}
		c, err := s.next()
		if err != nil {
			return err
		}
		if !space(c) {
			return protocol("the answer goes on behind its end, with %q", rune(c))
		}
	}
}

// members takes the members of an object behind its brace, and its end. each takes the value that belongs to key.
func (s *scanner) members(each func(key string) error) error {
	c, err := s.token()
	if err != nil || c == '}' {
		return err
	}
	for {
		if c != '"' {
			return corrupt("the JSON has %q where a name must be", rune(c))
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if c, err = s.token(); err != nil {
			return err
		}
		if c != ':' {
			return corrupt("the JSON has %q where a colon must be", rune(c))
		}
		if err := each(key); err != nil {
			return err
		}
		more, err := s.more('}')
		if err != nil || !more {
			return err
		}
		if c, err = s.token(); err != nil {
			return err
		}
	}
}

// more takes what is behind a value: a comma, or the end.
func (s *scanner) more(end byte) (bool, error) {
	c, err := s.token()
	switch {
	case err != nil:
		return false, err
	case c != ',' && c != end:
		return false, corrupt("the JSON has %q where a comma or %q must be", rune(c), rune(end))
	}
	return c == ',', nil
}

// key takes the rest of a member's name behind the quotation mark.
func (s *scanner) key() (string, error) {
	from := s.keep()
	defer s.drop()
	if err := s.text(); err != nil {
		return "", err
	}
	var key string
	if err := json.Unmarshal(append([]byte{'"'}, s.kept[from:]...), &key); err != nil {
		return "", corrupt("the JSON has a broken name")
	}
	return key, nil
}

// text takes the rest of a string behind the quotation mark.
func (s *scanner) text() error {
	for {
		c, err := s.next()
		switch {
		case err != nil:
			return err
		case c == '"':
			return nil
		case c < ' ':
			return corrupt("the JSON has a control character in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
}

// escape takes the rest of an escape behind the backslash.
func (s *scanner) escape() error {
	c, err := s.next()
	if err != nil {
		return err
	}
	if strings.IndexByte(`"\/bfnrtu`, c) < 0 {
		return corrupt("the JSON has an unknown escape")
	}
	for digits := 0; c == 'u' && digits < 4; digits++ {
		d, err := s.next()
		if err != nil {
			return err
		}
		if hex(d) < 0 {
			return corrupt("the JSON has a broken escape")
		}
	}
	return nil
}

// hex returns the value of a hexadecimal digit, -1 of anything else.
func hex(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}

// value takes a value that is inside so many others.
func (s *scanner) value(depth int) error {
	if depth > depthLimit {
		return protocol("the answer is nested more than %d deep", depthLimit)
	}
	c, err := s.token()
	switch {
	case err != nil:
		return err
	case c == '"':
		return s.text()
	case c == '{':
		return s.members(func(string) error { return s.value(depth + 1) })
	case c == '[':
		return s.elements(depth + 1)
	}
	s.unread()
	return s.literal()
}

// elements takes the values of an array behind its bracket, and its end.
func (s *scanner) elements(depth int) error {
	c, err := s.token()
	if err != nil || c == ']' {
		return err
	}
	s.unread()
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		more, err := s.more(']')
		if err != nil || !more {
			return err
		}
	}
}

// literal takes a number, true, false or null.
func (s *scanner) literal() error {
	from := s.keep()
	defer s.drop()
	for {
		c, err := s.next()
		if err != nil {
			return err
		}
		if space(c) || c == ',' || c == '}' || c == ']' {
			s.unread()
			break
		}
	}
	if !json.Valid(s.kept[from:]) {
		return corrupt("the JSON has something that is no value")
	}
	return nil
}

// decode takes the value of the member key, which must fit v.
func (s *scanner) decode(key string, v any) error {
	from := s.keep()
	defer s.drop()
	if err := s.value(1); err != nil {
		return err
	}
	if err := json.Unmarshal(s.kept[from:], v); err != nil {
		return protocol("%s: not of the type that the API gives it", key)
	}
	return nil
}

// A number is what the API sends as a decimal number or, mostly, as the text of one. It bears anything: no message is
// given up for what is known about it.
type number string

// UnmarshalJSON implements [json.Unmarshaler].
func (n *number) UnmarshalJSON(data []byte) error {
	if text := ""; json.Unmarshal(data, &text) == nil {
		*n = number(text)
	} else {
		*n = number(data)
	}
	return nil
}

// int64 returns n if it is a whole number of 64 bits.
func (n number) int64() (int64, bool) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return 0, false // not the nearest number that there is
	}
	return i, true
}

// digits returns n without leading zeros if it is nothing but digits, else "". What has too many to be a number is none.
func (n number) digits() string {
	const most = 100
	if n == "" || len(n) > most || strings.Trim(string(n), "0123456789") != "" {
		return ""
	}
	if short := strings.TrimLeft(string(n), "0"); short != "" {
		return short
	}
	return "0"
}
