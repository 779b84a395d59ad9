package imapclient

import (
	"errors"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"github.com/mailconn/mailconn/connection"
)

// TestValidityOf: what stands in every Ref is a number, whatever the server says.
func TestValidityOf(t *testing.T) {
	for arg, want := range map[string]string{
		"7":                      "7",
		"007":                    "7",
		"99999999999":            "99999999999", // more than 32 bits: some servers do
		"0":                      "",
		"":                       "",
		"x":                      "",
		"7 8":                    "",
		"-1":                     "",
		"\x1b[2J":                "",
		strings.Repeat("1", 20):  strings.Repeat("1", 20),
		strings.Repeat("1", 21):  "",
		strings.Repeat("1", 1e4): "",
	} {
		if got := validityOf(note{Code: "UIDVALIDITY", Arg: arg}); got != want {
			t.Errorf("%.30q: got %.30q, want %q", arg, got, want)
		}
	}
}

// TestSearchAnsweredWithSequenceNumbers: an answer to something else must not look like an empty folder.
func TestSearchAnsweredWithSequenceNumbers(t *testing.T) {
	s := &session{conn: &Conn{}}
	if _, err := s.uids("fetch", &goimap.SearchData{All: goimap.SeqSet{{Start: 1, Stop: 5}}}, 1, 0); !errors.Is(err, connection.ErrProtocol) {
		t.Errorf("got %v, want ErrProtocol", err)
	}
	if got, err := s.uids("fetch", &goimap.SearchData{}, 1, 0); len(got) != 0 || err != nil {
		t.Errorf("nothing found: got %v, %v", got, err)
	}
}
