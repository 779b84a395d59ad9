package pop3client

import (
	"bufio"
	"io"
	"net/mail"
	"strings"
	"time"
)

// maxHeaderLook is how much of a message is searched for its first Received field.
const maxHeaderLook = 64 << 10

// received returns when a message arrived, as the first Received field tells, which the last server has put there
// (RFC 5321, 4.4). It is now where there is none: a message is not left out for want of a date.
func received(r io.Reader) time.Time {
	lines := bufio.NewScanner(io.LimitReader(r, maxHeaderLook))
	field := ""
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if line == "" {
			break
		}
		if folded := line[0] == ' ' || line[0] == '\t'; folded {
			if field != "" {
				field += line
			}
			continue
		}
		if field != "" {
			break
		}
		if len(line) > 9 && strings.EqualFold(line[:9], "Received:") {
			field = line
		}
	}
	if i := strings.LastIndexByte(field, ';'); i >= 0 {
		if t, err := mail.ParseDate(strings.TrimSpace(field[i+1:])); err == nil {
			return t
		}
	}
	return time.Now()
}
