package maildir

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
)

// separators begin the info part of a file name. The first is Maildir's; the others replace it on file systems whose
// names cannot hold a colon.
var separators = [...]string{":2,", ";2,", "!2,"}

// infoSeparator is what this system writes.
func infoSeparator() string {
	if runtime.GOOS == "windows" {
		return separators[1]
	}
	return separators[0]
}

// splitName cuts a file name into its unique part and its info part, which begins with the separator and may be empty.
func splitName(name string) (unique, info string) {
	if i := strings.IndexByte(name, ':'); i > 0 && (strings.HasPrefix(name[i:], separators[0]) || strings.HasPrefix(name[i:], ":1,")) {
		return name[:i], name[i:]
	}
	for _, sep := range separators[1:] {
		if i := strings.LastIndex(name, sep); i > 0 && isFlagLetters(name[i+len(sep):]) {
			return name[:i], name[i:]
		}
	}
	return name, ""
}

func isFlagLetters(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) < 0
}

// flagLetters returns the flags of an info part: the letters after its "2,".
func flagLetters(info string) string {
	if len(info) < 3 || info[1] != '2' {
		return ""
	}
	letters := info[3:]
	if i := strings.IndexFunc(letters, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }); i >= 0 {
		letters = letters[:i]
	}
	return letters
}

// withLetters returns info with letters added, in the order that the Maildir specification asks for. What follows the
// flags stays.
func withLetters(info, letters string) string {
	old := flagLetters(info)
	sep, tail := infoSeparator(), ""
	if len(info) >= 3 && info[1] == '2' {
		sep, tail = info[:3], info[3+len(old):]
	}
	all := []byte(old + letters)
	slices.Sort(all)
	return sep + string(slices.Compact(all)) + tail
}

// systemFlags are the flags of the Maildir specification, in the order of their letters.
var systemFlags = [...]struct {
	letter byte
	flag   connection.Flag
}{
	{'D', connection.FlagDraft},
	{'F', connection.FlagFlagged},
	{'P', connection.FlagForwarded},
	{'R', connection.FlagAnswered},
	{'S', connection.FlagSeen},
	{'T', connection.FlagDeleted},
}

// isMessageName reports whether a file called name can be a message: not a dot file, and none of what Dovecot and
// Courier keep beside messages.
func isMessageName(name string) bool {
	switch {
	case name == "", name[0] == '.', name == "maildirfolder", name == "subscriptions":
		return false
	}
	return !strings.HasPrefix(name, "dovecot") && !strings.HasPrefix(name, "courier")
}

// escape writes the octets of s that are no UTF-8 as %XX, so that s survives JSON; and a % before two hexadecimal
// digits as %25, so that no two strings look the same.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, "%%%02X", s[i])
		case r == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteString("%25")
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' || 'a' <= c && c <= 'f'
}

// namedSize returns what the name's ",S=" says, -1 if it says nothing.
func namedSize(unique string) int64 {
	i := strings.Index(unique, ",S=")
	if i < 0 {
		return -1
	}
	digits, _, _ := strings.Cut(unique[i+3:], ",")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// received returns the time of arrival: the file's modification time, or else the seconds that the name begins with.
func received(unique string, mtime time.Time) time.Time {
	if mtime.Unix() > 0 {
		return mtime
	}
	digits, _, _ := strings.Cut(unique, ".")
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n > 0 && n < 1<<40 {
		return time.Unix(n, 0)
	}
	return time.Time{}
}
