package imapclient

import (
	"fmt"
	"slices"
	"strings"
)

// A Quirk is an oddity of a server that this driver works around. Detail of an EventQuirk names it.
type Quirk struct {
	Name string // "flag"
	Does string // what the server does, and what is made of it
	Off  string // the setting that ends the workaround, with its value
}

// Quirks returns what the driver works around, by name. What can be told from a capability or from what a server does is
// never guessed from its name; the host's name decides in the quirk "id" alone, since nothing can be tested before the
// login.
//
// Other habits of servers need no switch, for what bears them is right everywhere: UID behind the body (Microsoft 365),
// flags in a reply of their own, NIL for the body of a message that is gone (Dovecot), sizes that are wrong (Exchange), a
// UIDVALIDITY that changes (Microsoft 365), ENVELOPE that fails (iCloud), sessions that end after ten minutes of IDLE
// (Gmail, Microsoft 365), replies to pipelined FETCH commands that are held back (Dovecot).
func Quirks() []Quirk { return slices.Clone(quirks) }

const refuse = "disable_quirks"

var quirks = []Quirk{
	{"appenduid", "APPENDUID without numbers: the new message's UID is not known", refuse},
	{"capability", "capabilities told again: what was told after the login holds", refuse},
	{"compress-refused", "COMPRESS is offered and refused: the traffic is not compressed", "compress: off"},
	{"condstore-refused", "CONDSTORE is offered and refused: all flags are asked for", "disable_extensions: CONDSTORE"},
	{"copyuid", "COPYUID that is no set of UIDs: nothing counts as copied", refuse},
	{"delimiter", "a hierarchy delimiter of no or many characters: there are no levels", refuse},
	{"empty-line", "empty lines between responses: dropped", refuse},
	{"enabled", "ENABLED that was not asked for: dropped", refuse},
	{"flag", "flags and attributes that no client could send: left out", refuse},
	{"folder-name", "folder names that are not in modified UTF-7: shown in a readable form, sent back as they came", refuse},
	{"highestmodseq", "HIGHESTMODSEQ without a number: not known", refuse},
	{"id", "NetEase (163.com, 126.com) refuses clients that have not sent ID: it is sent before the login. What servers say in ID themselves is for the report only", "send_id: off"},
	{"internaldate", "INTERNALDATE that is no date: the arrival is not known", refuse},
	{"lsub", "LSUB that was not asked for: dropped", refuse},
	{"many-flags", "over 512 flags, or 16 KiB of them, at one message: the others are left out", refuse},
	{"nil", "nil in lower case: NIL", refuse},
	{"partial-ignored", "the whole message in answer to a part of it: taken, and parts are not asked for any more", "partial_fetch: false"},
	{"response-code", "a response code that is none: left out", refuse},
	{"search-order", "SEARCH results that are not in ascending order, or twice: sorted", refuse},
	{"size", "RFC822.SIZE that is no size: not known", refuse},
	{"spaces", "more spaces than one: one", refuse},
	{"uidnext", "UIDNEXT out of range: not known", refuse},
	{"uidvalidity", "UIDVALIDITY out of range: taken as a text", refuse},
	{"unasked-body", "a body that was not asked for: dropped", refuse},
	{"unasked-continuation", "a continuation request that nothing asked for: dropped", refuse},
	{"unasked-item", "FETCH items that were not asked for: left out", refuse},
	{"unasked-response", "a response that was not asked for: dropped", refuse},
	{"unknown-response", "a response that no standard knows: dropped", refuse},
	{"vanished", "VANISHED that was not asked for: dropped", refuse},
	{"xlist", "XLIST that was not asked for: dropped", refuse},
}

// checkQuirks checks the setting disable_quirks.
func checkQuirks(names []string) error {
	for _, name := range names {
		i := slices.IndexFunc(quirks, func(q Quirk) bool { return q.Name == name })
		switch {
		case i < 0:
			var known []string
			for _, q := range quirks {
				if q.Off == refuse {
					known = append(known, q.Name)
				}
			}
			return fmt.Errorf("disable_quirks: %q: unknown; there are %s", name, strings.Join(known, ", "))
		case quirks[i].Off != refuse:
			return fmt.Errorf("disable_quirks: %q: use %s", name, quirks[i].Off)
		}
	}
	return nil
}
