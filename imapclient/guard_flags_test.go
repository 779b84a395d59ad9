package imapclient_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// Flags without number do not fill the memory, and keep nobody from the message.
func TestManyFlags(t *testing.T) {
	date := ` INTERNALDATE "17-Jul-2024 02:44:25 +0000" `
	for _, test := range []struct {
		name, flags string
		most        int
	}{
		{"many", `\Seen` + strings.Repeat(" a", 200_000), 512},
		{"long", `\Seen ` + strings.Repeat("a", 200_000), 1},
		{"many long ones", `\Seen` + strings.Repeat(" "+strings.Repeat("a", 1000), 500), 17},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := imaptest.NewScript(t, nil, served("1 2 3", imaptest.Expect("UID FETCH"), imaptest.Send(
				"* 1 FETCH (UID 1 FLAGS ("+test.flags+")"+date+"BODY[] "+literal("one")+")",
				"* 2 FETCH (UID 2"+date+"BODY[] "+literal("two")+" FLAGS ("+test.flags+"))",
				"* 3 FETCH (BODY[] "+literal("three")+" FLAGS ("+test.flags+") UID 3)", // through go-imap
				"$TAG OK done",
			)))
			var quirks []string
			env := *srv.Env()
			env.Observe = func(ev connection.Event) {
				if ev.Kind == connection.EventQuirk {
					quirks = append(quirks, ev.Detail)
				}
			}
			all := collect(t, open(t, srv.Config(), &env), nil)
			wantBodies(t, bodies(t, all), "one", "two", "three")
			for _, f := range all {
				if n := len(f.Message.Flags); n == 0 || n > test.most || f.Message.Flags[0] != connection.FlagSeen {
					t.Errorf("%v: got %d flags, want at most %d", f.Ref, n, test.most)
				}
			}
			if !slices.Contains(quirks, "many-flags") {
				t.Errorf("the events tell %q", quirks)
			}
		})
	}
}
