package imapclient_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// An oddity that is not to be worked around ends in an error that says which; the same server is read otherwise.
func TestQuirksOff(t *testing.T) {
	answer := []imaptest.Step{imaptest.Expect("UID FETCH"), imaptest.Send("* 1 FETCH (UID 1  INTERNALDATE NIL BODY[] {3}\r\none)", "$TAG OK done")}
	for _, off := range []string{"", "internaldate"} {
		script := append(imaptest.Script{imaptest.Answer("LOGOUT", "$TAG OK bye")}, served("1", answer...)...)
		script = append(script, imaptest.Answer("UID SEARCH", "* SEARCH 1", "$TAG OK done"))
		srv := imaptest.NewScript(t, &imaptest.ScriptOptions{Lenient: true, Repeat: true}, append(script, answer...))
		cfg := srv.Config()
		cfg.MaxAttempts = 1
		if off != "" {
			cfg.DisableQuirks = []string{off}
		}
		var told []string
		env := *srv.Env()
		env.Observe = func(ev connection.Event) {
			if ev.Kind == connection.EventQuirk {
				told = append(told, ev.Detail)
			}
		}
		all := collect(t, open(t, cfg, &env), nil)
		if off == "" {
			wantBodies(t, bodies(t, all), "one")
			if !slices.Contains(told, "internaldate") {
				t.Errorf("the events tell %q", told)
			}
			continue
		}
		if len(all) == 0 {
			t.Fatal("no error")
		}
		if e := theError(t, all[0].Err, connection.ErrProtocol); !strings.Contains(e.Error(), off) {
			t.Errorf("the error does not name the oddity: %v", e)
		}
	}
}

func TestQuirksConfig(t *testing.T) {
	cfg := imapclient.Journal("h", "u", connection.NewSecret("p"))
	for name, want := range map[string]string{"flags": "unknown; there are appenduid", "id": "use send_id", "partial-ignored": "use partial_fetch"} {
		cfg.DisableQuirks = []string{name}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "disable_quirks") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	for _, q := range imapclient.Quirks() {
		cfg.DisableQuirks = []string{q.Name}
		if err := cfg.Validate(); (err == nil) != (q.Off == "disable_quirks") || q.Does == "" {
			t.Errorf("%s: got %v, and it is off by %s", q.Name, err, q.Off)
		}
	}
}
