package ews_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// TestReportWithoutServer begins with autodiscover, and then looks at the server that it found.
func TestReportWithoutServer(t *testing.T) {
	r := newRig(t, nil).discovering()
	r.cfg.Server = ""
	r.cfg.ServerName = "other.corp.test" // of server, and of no other host
	r.SetAnswer("*", alice, ewstest.Answer{External: "https://cas7.corp.test/EWS/Exchange.asmx"})
	by, got, err := report(t, r, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	if first := got.Steps[0].Name; first != "autodiscover" {
		t.Errorf("the first step is %s", first)
	}
	if !strings.Contains(by["resolve"].Detail, "cas7.corp.test:443") || !strings.Contains(by["tls"].Detail, "cas7.corp.test") || by["tls"].Status != connection.StatusOK {
		t.Errorf("resolve: %q, tls: %s", by["resolve"].Detail, by["tls"].Status)
	}
	// Nobody to ask: everything is skipped, with the reason.
	r = newRig(t, nil).discovering()
	r.cfg.Server = ""
	r.SetHost("*", ewstest.Host{Unknown: true})
	by, _, err = report(t, r, nil)
	if !errors.Is(err, connection.ErrNetwork) || by["autodiscover"].Status != connection.StatusFailed || !strings.Contains(by["autodiscover"].Hint, "disable_autodiscover") {
		t.Errorf("%v, hint %q", err, by["autodiscover"].Hint)
	}
	for _, name := range []string{"resolve", "connect", "tls", "http", "auth", "open", "impersonate", "read"} {
		if by[name].Status != connection.StatusSkipped || by[name].Detail == "" {
			t.Errorf("step %s is %s: %q", name, by[name].Status, by[name].Detail)
		}
	}
}

// TestReportNamesEachCandidate of autodiscover, with its outcome.
func TestReportNamesEachCandidate(t *testing.T) {
	r := wayward(t, nil, "autodiscover.corp.test")
	r.SetHost("corp.test", ewstest.Host{Handler: ewstest.AnswerPage("parked")})
	by, _, err := report(t, r, nil)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"https://corp.test/autodiscover/autodiscover.svc: the answer is a web page",
		"https://autodiscover.corp.test/autodiscover/autodiscover.svc: settings",
		svc + ": not found", alice + ": https://" + found,
	} {
		if !strings.Contains(by["autodiscover"].Detail, want) {
			t.Errorf("autodiscover does not tell %q:\n%s", want, by["autodiscover"].Detail)
		}
	}
}

// TestReportOfExchangeOnline says what has become of EWS there.
func TestReportOfExchangeOnline(t *testing.T) {
	r := newRig(t, nil).discovering()
	r.SetAnswer("*", alice, ewstest.Answer{External: "https://outlook.office365.com/EWS/Exchange.asmx"})
	r.SetHost("outlook.office365.com", ewstest.Host{Handler: ewstest.AnswerStatus(http.StatusForbidden)})
	by, got, err := report(t, r, nil)
	if s := by["autodiscover"]; s.Status != connection.StatusWarned || !strings.Contains(s.Hint, "msgraph") {
		t.Errorf("autodiscover is %s, with the hint %q", s.Status, s.Hint)
	}
	var e *connection.Error
	if !errors.As(err, &e) || e.Kind != connection.ErrUnsupported || e.Code != "EWSRetired" || by["auth"].Status != connection.StatusFailed {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestE33ReportTellsOfTheClock: logins by token fail at a server whose clock is wrong.
func TestE33ReportTellsOfTheClock(t *testing.T) {
	for skew, want := range map[time.Duration]bool{-time.Hour: true, 2 * time.Hour: true, time.Minute: false} {
		r := newRig(t, nil)
		r.SetHost(found, ewstest.Host{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		})})
		by, _, _ := report(t, r, nil) // the login fails, which is not the point
		if got := strings.Contains(by["http"].Hint, "clock"); got != want {
			t.Errorf("clock off by %s: hint %q", skew, by["http"].Hint)
		}
	}
}

// TestReportWithTheHostsTransport leaves it to the host program how to connect.
func TestReportWithTheHostsTransport(t *testing.T) {
	r := newRig(t, nil)
	transport := &http.Transport{DialContext: r.env.Dial, TLSClientConfig: r.env.TLS}
	defer transport.CloseIdleConnections()
	r.env = &connection.Env{HTTPClient: &http.Client{Transport: transport}}
	by, got, err := report(t, r, nil)
	if err != nil {
		t.Errorf("%v\n%s", err, got)
	}
	for name, want := range map[string]connection.Status{
		"resolve": connection.StatusSkipped, "connect": connection.StatusSkipped, "tls": connection.StatusSkipped, "http": connection.StatusOK, "open": connection.StatusOK,
	} {
		if by[name].Status != want {
			t.Errorf("step %s is %s, want %s", name, by[name].Status, want)
		}
	}
}

// TestReportOfDelegates opens the sample by rights on its folders.
func TestReportOfDelegates(t *testing.T) {
	r := newRig(t, nil).impersonating()
	r.Revoke(svc, alice)
	r.GrantDelegate(svc, alice)
	r.cfg.Access, r.cfg.TestMailbox = ews.AccessDelegate, alice
	r.alice.Deliver("Inbox", letter(1))
	by, got, err := report(t, r, nil)
	if err != nil || by["impersonate"].Status != connection.StatusOK || by["read"].Status != connection.StatusOK {
		t.Errorf("%v\n%s", err, got)
	}
	if slices.ContainsFunc(r.Requests(), func(q ewstest.Request) bool { return q.Mailbox != "" }) {
		t.Error("a delegate impersonated somebody")
	}
}

// TestReportOfASampleThatIsOnesOwn needs no impersonation.
func TestReportOfASampleThatIsOnesOwn(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.TestMailbox = strings.ToUpper(alice)
	by, got, err := report(t, r, nil)
	if err != nil || by["impersonate"].Status != connection.StatusSkipped || by["read"].Status != connection.StatusOK {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestReportReadsLittle of a large message.
func TestReportReadsLittle(t *testing.T) {
	r := newRig(t, nil)
	r.alice.Deliver("Inbox", large(8<<20))
	by, got, err := report(t, r, nil)
	if err != nil || by["read"].Detail != "65536 octets of the newest item" {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestReportSparesHTTPUnlessNothingListens: what stands between us and https may be the attacker.
func TestReportSparesHTTPUnlessNothingListens(t *testing.T) {
	r := newRig(t, &ewstest.Options{Auth: ewstest.Authentication{AllowPlain: true}})
	r.cfg.Mode, r.cfg.AllowPlaintextAuth = connection.ModeTLSWhenAvailable, true
	dial := r.env.Dial
	r.env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":443") {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("network is unreachable")}
		}
		return dial(ctx, network, address)
	}
	by, _, err := report(t, r, nil)
	if by["connect"].Status != connection.StatusFailed || !errors.Is(err, connection.ErrNetwork) || len(r.Dialled()) != 0 {
		t.Errorf("connect is %s: %v; dialled %q", by["connect"].Status, err, r.Dialled())
	}
}

// TestReportReadsOnlyTheSample: if that cannot be opened, the account's own mailbox does not stand in for it.
func TestReportReadsOnlyTheSample(t *testing.T) {
	r := newRig(t, nil)
	r.AddMailbox(bob, ewstest.MailboxOptions{Password: canary})
	r.cfg.TestMailbox = bob
	by, _, err := report(t, r, &connection.TestOptions{Write: true})
	if !errors.Is(err, connection.ErrPermission) || by["open"].Status != connection.StatusOK || by["read"].Status != connection.StatusSkipped || r.Calls("CreateItem") != 0 {
		t.Errorf("%v: open %s, read %s", err, by["open"].Status, by["read"].Status)
	}
}

// TestReportNegotiatesQuietly: only a version that the settings name, and that is too new, is worth a warning.
func TestReportNegotiatesQuietly(t *testing.T) {
	r := newRig(t, &ewstest.Options{Version: "2010_SP2"})
	by, _, err := report(t, r, nil)
	if s := by["capabilities"]; err != nil || s.Status != connection.StatusOK || !strings.Contains(s.Detail, "Exchange 2010") || !strings.Contains(s.Detail, "Exchange2010_SP2") {
		t.Errorf("%v: capabilities is %s: %s %s", err, s.Status, s.Detail, s.Hint)
	}
}

// TestReportComparesWhatItWrote with what it reads.
func TestReportComparesWhatItWrote(t *testing.T) {
	r := newRig(t, nil)
	payload := regexp.MustCompile(`(MimeContent[^>]*>)[^<]+<`)
	r.Fail(ewstest.On("GetItem"), ewstest.Rewrite(func(body []byte) []byte { return payload.ReplaceAll(body, []byte("${1}SGVsbG8gd29ybGQ=<")) }))
	by, _, err := report(t, r, &connection.TestOptions{Write: true})
	if !errors.Is(err, connection.ErrCorrupt) || by["write"].Status != connection.StatusFailed || len(r.Messages(alice, "Drafts")) != 0 {
		t.Errorf("%v: write is %s", err, by["write"].Status)
	}
}

// TestReportWithNothingToRemove does not look for what was refused.
func TestReportWithNothingToRemove(t *testing.T) {
	r := newRig(t, nil)
	r.Fail(ewstest.On("CreateItem"), ewstest.Refuse("ErrorAccessDenied", "Access is denied."))
	finds := 0
	by, _, err := report(t, r, &connection.TestOptions{Write: true, Progress: func(s connection.Step) {
		if s.Name == "write" {
			finds = r.Calls("FindItem")
		}
	}})
	if !errors.Is(err, connection.ErrPermission) || by["remove"].Status != connection.StatusOK || r.Calls("FindItem") != finds || r.Calls("DeleteItem") != 0 {
		t.Errorf("%v: remove is %s: %s", err, by["remove"].Status, by["remove"].Detail)
	}
}
