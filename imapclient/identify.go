package imapclient

import (
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/internal/wirelog"
)

// The values of Config.SendID.
const (
	IDAuto        = "auto"         // before the login, to servers that are known to want it
	IDBeforeLogin = "before-login" // always, offered or not
	IDOff         = "off"
)

// identification is all that a server is told of us: nothing of the user, the host or the machine (RFC 2971, 4).
const identification = `ID ("name" "mailconn" "support-url" "https://github.com/mailconn/mailconn")`

// wantsID names hosts that refuse SELECT ("Unsafe Login") to a client that has not said what it is: NetEase's services.
// Their subdomains count.
var wantsID = []string{"163.com", "126.com", "188.com", "yeah.net"}

// identify sends the ID command (RFC 2971) before the login, if it is wanted. What the server says of itself goes to
// the report, and never to go-imap, which does not survive every form of it. A refusal means nothing.
func (l *link) identify(cfg *Config) error {
	if !l.sendsID(cfg.SendID) {
		return nil
	}
	began := time.Now()
	if l.caps == nil { // STARTTLS made us forget them
		if err := l.askCaps(""); err != nil {
			return err
		}
	}
	if cfg.SendID != IDBeforeLogin && !l.has("ID") {
		return nil
	}
	l.serverID = ""
	n, err := l.command(identification, maxPreludeLine, nil)
	if err != nil {
		l.way.Report("id", began, "", "", err)
		return err
	}
	what := "the server says " + l.said(n)
	if l.serverID != "" {
		what = "the server is " + wirelog.Clip(l.clean(l.serverID))
	}
	l.way.Report("id", began, what, "", nil)
	return nil
}

// sendsID decides by the settings, the host's name and the greeting: before the login there is nothing to test it by.
func (l *link) sendsID(setting string) bool {
	if setting == IDOff || slices.Contains(l.hidden, "ID") {
		return false
	}
	if setting == IDBeforeLogin || strings.Contains(l.greeting, "Coremail") { // NetEase's software, under any name
		return true
	}
	host := strings.ToLower(strings.TrimSuffix(l.peer.Host, "."))
	return slices.ContainsFunc(wantsID, func(name string) bool {
		return host == name || strings.HasSuffix(host, "."+name)
	})
}
