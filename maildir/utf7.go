package maildir

import (
	"strings"

	"github.com/mailconn/mailconn/internal/utf7"
)

// folderName returns the name for people of one level of a folder's path: modified UTF-7 decoded, UTF-8 as it is,
// anything else escaped.
func folderName(s string) string {
	if strings.Contains(s, "&") {
		if decoded, ok := utf7.Decode(s); ok {
			return decoded
		}
	}
	return escape(s)
}
