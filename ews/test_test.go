package ews_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// testSteps are the steps of every report, in their order.
var testSteps = []string{"resolve", "connect", "tls", "http", "autodiscover", "auth", "capabilities", "open", "impersonate", "read", "write", "remove"}

// report runs Test and returns the steps by their names. The report must hold all of them, whatever happened.
func report(t *testing.T, r *rig, opts *connection.TestOptions) (map[string]connection.Step, *connection.Report, error) {
	t.Helper()
	got, err := r.open(t).Test(t.Context(), opts)
	by := make(map[string]connection.Step)
	var names []string
	for _, s := range got.Steps {
		by[s.Name] = s
		if s.Name != "settings" {
			names = append(names, s.Name)
		}
		if s.Status == connection.StatusFailed && (s.Hint == "" || s.Err == nil) {
			t.Errorf("step %s failed with the hint %q and the error %v", s.Name, s.Hint, s.Err)
		}
	}
	want := slices.Clone(testSteps)
	slices.Sort(want)
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("steps %q, want %q", names, want)
	}
	if text := got.String(); strings.Contains(text, canary) {
		t.Errorf("the report shows the password:\n%s", text)
	}
	return by, got, err
}

// wantKind fails the test if err is no *connection.Error of the kind.
func wantKind(t *testing.T, err error, kind connection.Kind) {
	t.Helper()
	_ = theError(t, err, kind)
}

// discovering makes the settings those of the account that impersonates alice and finds her by autodiscover.
func (r *rig) discovering() *rig {
	r.impersonating()
	r.cfg.DisableAutodiscover, r.cfg.TestMailbox, r.cfg.LookupSRV = false, alice, lookupSRV(r.Server)
	return r
}

func lookupSRV(s *ewstest.Server) func(context.Context, string, string, string) (string, []*net.SRV, error) {
	return s.LookupSRV
}

func TestReportOfWhatWorks(t *testing.T) {
	r := newRig(t, nil).discovering()
	r.alice.Deliver("Inbox", letters(3)...)
	var told []string
	by, got, err := report(t, r, &connection.TestOptions{Write: true, Progress: func(s connection.Step) { told = append(told, s.Name) }})
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	if !slices.Equal(told, testSteps) {
		t.Errorf("told of %q, want %q", told, testSteps)
	}
	for name, want := range map[string]string{
		"http": "offers Basic", "autodiscover": alice + ": https://exchange.corp.test/EWS/Exchange.asmx", "auth": svc, "capabilities": "Exchange 2016 (15.1",
		"impersonate": "3 items of " + alice, "read": "octets", "write": "read back", "remove": "gone", "tls": "TLS 1.3",
	} {
		if !strings.Contains(by[name].Detail, want) {
			t.Errorf("step %s: %q, want it to tell %q", name, by[name].Detail, want)
		}
	}
	for _, name := range testSteps {
		want := connection.StatusOK
		if name == "open" || name == "autodiscover" {
			want = connection.StatusWarned // the account has no mailbox
		}
		if by[name].Status != want {
			t.Errorf("step %s is %s, want %s: %s %s", name, by[name].Status, want, by[name].Detail, by[name].Hint)
		}
	}
	if n := len(r.Messages(alice, "Drafts")) + len(r.Messages(alice, "Deleted Items")); n != 0 {
		t.Errorf("%d messages stay behind", n)
	}
	if n := len(r.Messages(alice, "Inbox")); n != 3 {
		t.Errorf("%d messages in the inbox, want 3", n)
	}
	for _, m := range r.Messages(alice, "Inbox") {
		if m.Read {
			t.Error("Test marked a message as read")
		}
	}
}

// TestReportWithoutWrite changes nothing at all.
func TestReportWithoutWrite(t *testing.T) {
	r := newRig(t, nil)
	by, got, err := report(t, r, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	for _, name := range []string{"autodiscover", "impersonate", "write", "remove"} {
		if by[name].Status != connection.StatusSkipped || by[name].Detail == "" {
			t.Errorf("step %s is %s: %q, want it skipped with a reason", name, by[name].Status, by[name].Detail)
		}
	}
	if by["read"].Detail != "the inbox is empty" {
		t.Errorf("read: %q", by["read"].Detail)
	}
	for _, op := range []string{"CreateItem", "DeleteItem", "UpdateItem", "MoveItem"} {
		if n := r.Calls(op); n != 0 {
			t.Errorf("%d times %s", n, op)
		}
	}
}

// TestReportOfWhatFails breaks one thing after the other.
func TestReportOfWhatFails(t *testing.T) {
	const host = "exchange.corp.test"
	tests := []struct {
		name string
		opts *ewstest.Options
		set  func(r *rig)
		step string
		kind connection.Kind // of the step's error; ErrUnknown: it is warned only
		hint string
		then map[string]connection.Status // of other steps
	}{
		{
			name: "no such name", set: func(r *rig) { r.SetHost(host, ewstest.Host{Unknown: true}) }, step: "connect", kind: connection.ErrNetwork, hint: "server",
			then: map[string]connection.Status{"tls": connection.StatusSkipped, "http": connection.StatusSkipped, "auth": connection.StatusSkipped, "read": connection.StatusSkipped},
		},
		{name: "nothing listens", set: func(r *rig) { r.SetHost(host, ewstest.Host{Refuse: true}) }, step: "connect", kind: connection.ErrNetwork, hint: "server"},
		{name: "another's certificate", set: func(r *rig) { r.SetHost(host, ewstest.Host{Certificate: ewstest.CertificateWrongName}) }, step: "tls", kind: connection.ErrTLS, hint: "server_name"},
		{name: "a certificate from nobody", set: func(r *rig) { r.SetHost(host, ewstest.Host{Certificate: ewstest.CertificateSelfSigned}) }, step: "tls", kind: connection.ErrTLS, hint: "ca_pem"},
		{name: "an old certificate", set: func(r *rig) { r.SetHost(host, ewstest.Host{Certificate: ewstest.CertificateExpired}) }, step: "tls", kind: connection.ErrTLS},
		{name: "TLS 1.0 only", set: func(r *rig) {
			r.SetHost(host, ewstest.Host{MaxTLS: tls.VersionTLS10})
			r.env.TLS = &tls.Config{RootCAs: r.env.TLS.RootCAs}
		}, step: "tls", kind: connection.ErrTLS, hint: "min_tls"},
		{name: "any certificate is taken", set: func(r *rig) {
			r.SetHost(host, ewstest.Host{Certificate: ewstest.CertificateSelfSigned})
			r.cfg.AcceptAnyCertificate = true
		}, step: "tls", hint: "pin_sha256", then: map[string]connection.Status{"settings": connection.StatusWarned, "open": connection.StatusOK}},
		{
			name: "a web page", set: func(r *rig) { r.SetHost(host, ewstest.Host{Handler: ewstest.AnswerPage("Log in")}) }, step: "http", kind: connection.ErrProtocol, hint: "forms login or a proxy",
			then: map[string]connection.Status{"tls": connection.StatusOK, "auth": connection.StatusSkipped},
		},
		{name: "no EWS there", set: func(r *rig) { r.SetHost(host, ewstest.Host{Handler: ewstest.AnswerStatus(404)}) }, step: "http", kind: connection.ErrProtocol, hint: "server"},
		{name: "no login of the kind wanted", set: func(r *rig) { r.cfg.Auth = ews.AuthNTLM }, step: "http", hint: "auth: ntlm is not among", then: map[string]connection.Status{"auth": connection.StatusFailed}},
		{name: "no challenge", opts: &ewstest.Options{Auth: ewstest.Authentication{NoChallenge: true}}, step: "http", hint: "auth"},
		{
			name: "wrong password", set: func(r *rig) { r.cfg.Password = connection.NewSecret("wrong") }, step: "auth", kind: connection.ErrAuth, hint: "password",
			then: map[string]connection.Status{"http": connection.StatusOK, "capabilities": connection.StatusSkipped, "open": connection.StatusSkipped, "impersonate": connection.StatusSkipped},
		},
		{
			name: "wrong password, seen by autodiscover", set: func(r *rig) { r.discovering().cfg.Password = connection.NewSecret("wrong") }, step: "auth", kind: connection.ErrAuth, hint: "password",
			then: map[string]connection.Status{"autodiscover": connection.StatusFailed, "impersonate": connection.StatusSkipped},
		},
		{name: "no autodiscover", set: func(r *rig) {
			r.discovering().SetHost("*", ewstest.Host{Unknown: true})
			r.SetHost(host, ewstest.Host{})
		}, step: "autodiscover", kind: connection.ErrNetwork, hint: "disable_autodiscover", then: map[string]connection.Status{"http": connection.StatusOK}},
		{name: "no autodiscover, and server will do", set: func(r *rig) {
			r.discovering().SetHost("*", ewstest.Host{Unknown: true})
			r.SetHost(host, ewstest.Host{})
			r.cfg.FallbackToServer = true
		}, step: "autodiscover", hint: "fallback_to_server", then: map[string]connection.Status{"auth": connection.StatusOK, "impersonate": connection.StatusOK, "read": connection.StatusOK}},
		{name: "a redirect to strangers", set: func(r *rig) {
			r.discovering().SetAnswer("*", "*", ewstest.Answer{RedirectURL: "https://autodiscover.evil.invalid/autodiscover/autodiscover.svc"})
			r.SetHost("autodiscover.evil.invalid", ewstest.Host{Hostile: true})
		}, step: "autodiscover", kind: connection.ErrConfig, hint: "redirect_allow"},
		{name: "older than the settings say", opts: &ewstest.Options{Version: "2013"}, set: func(r *rig) { r.cfg.Version = "2016" }, step: "capabilities", hint: "version"},
		{
			name: "no mailbox of its own, and no other is wanted", set: func(r *rig) { r.impersonating().cfg.Access = ews.AccessOwn }, step: "open", kind: connection.ErrUnknown, hint: "",
			then: map[string]connection.Status{"open": connection.StatusFailed, "read": connection.StatusSkipped},
		},
		{
			name: "impersonation denied", set: func(r *rig) { r.discovering().Revoke(svc, alice) }, step: "impersonate", kind: connection.ErrPermission, hint: "ApplicationImpersonation",
			then: map[string]connection.Status{"open": connection.StatusWarned, "read": connection.StatusSkipped},
		},
		{name: "no such mailbox", set: func(r *rig) { r.impersonating().cfg.TestMailbox = "nobody@corp.test" }, step: "impersonate", kind: connection.ErrNotFound, hint: "mailboxes"},
		{name: "an item that cannot be converted", set: func(r *rig) { r.alice.BreakConversion(r.alice.Deliver("Inbox", letter(1))...) }, step: "read", hint: "fallbacks"},
		{name: "full", opts: nil, set: func(r *rig) {
			r.AddMailbox(bob, ewstest.MailboxOptions{Password: canary, Quota: 1})
			r.cfg.Username = bob
		}, step: "write", kind: connection.ErrQuota, hint: "full", then: map[string]connection.Status{"remove": connection.StatusOK}},
		{name: "insecure", opts: &ewstest.Options{Auth: ewstest.Authentication{AllowPlain: true}}, set: func(r *rig) {
			r.cfg.Mode, r.cfg.AllowPlaintextAuth = connection.ModeInsecure, true
		}, step: "http", hint: "set tls", then: map[string]connection.Status{"tls": connection.StatusWarned, "open": connection.StatusOK, "write": connection.StatusOK}},
		{name: "https refused, and http is permitted", opts: &ewstest.Options{Auth: ewstest.Authentication{AllowPlain: true}}, set: func(r *rig) {
			r.cfg.Mode, r.cfg.AllowPlaintextAuth = connection.ModeTLSWhenAvailable, true
			r.SetHost(host, ewstest.Host{RefuseTLS: true})
		}, step: "connect", hint: "mode", then: map[string]connection.Status{"tls": connection.StatusWarned, "http": connection.StatusOK, "open": connection.StatusOK}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.opts)
			if tt.set != nil {
				tt.set(r)
			}
			by, got, err := report(t, r, &connection.TestOptions{Write: true})
			s := by[tt.step]
			failed := tt.kind != connection.ErrUnknown || tt.then[tt.step] == connection.StatusFailed
			switch {
			case failed && (s.Status != connection.StatusFailed || err == nil):
				t.Errorf("step %s is %s, want it failed; Test returned %v", tt.step, s.Status, err)
			case failed && tt.kind != connection.ErrUnknown && !errors.Is(s.Err, tt.kind):
				t.Errorf("step %s: %v, want %v", tt.step, s.Err, tt.kind)
			case !failed && s.Status != connection.StatusWarned:
				t.Errorf("step %s is %s, want it warned", tt.step, s.Status)
			}
			if !strings.Contains(s.Hint, tt.hint) {
				t.Errorf("step %s: hint %q, want it to tell of %q", tt.step, s.Hint, tt.hint)
			}
			for name, want := range tt.then {
				if by[name].Status != want {
					t.Errorf("step %s is %s, want %s: %v %s", name, by[name].Status, want, by[name].Err, by[name].Detail)
				}
			}
			if logins := slices.DeleteFunc(r.Logins(r.cfg.Username), func(l ewstest.Login) bool { return l.OK }); len(logins) > 2 {
				t.Errorf("%d logins were refused: %+v", len(logins), logins)
			}
			if t.Failed() {
				t.Logf("%v\n%s", err, got)
			}
		})
	}
}

// TestReportNeverFallsBackFromABadCertificate keeps to https where somebody answers it.
func TestReportNeverFallsBackFromABadCertificate(t *testing.T) {
	r := newRig(t, &ewstest.Options{Auth: ewstest.Authentication{AllowPlain: true}})
	r.cfg.Mode, r.cfg.AllowPlaintextAuth = connection.ModeTLSWhenAvailable, true
	r.SetHost("exchange.corp.test", ewstest.Host{Certificate: ewstest.CertificateWrongName})
	by, _, err := report(t, r, nil)
	if !errors.Is(err, connection.ErrTLS) || by["tls"].Status != connection.StatusFailed {
		t.Errorf("Test: %v, tls %s", err, by["tls"].Status)
	}
	for _, address := range r.Dialled() {
		if strings.HasSuffix(address, ":80") {
			t.Errorf("dialled %s behind a certificate that is not trusted", address)
		}
	}
}

// TestReportRemovesWhatItWrote also if the answer to writing is lost, or what was written cannot be read.
func TestReportRemovesWhatItWrote(t *testing.T) {
	for name, set := range map[string]func(r *rig){
		"the answer is lost":   func(r *rig) { r.Fail(ewstest.On("CreateItem").Times(1), ewstest.Lose()) },
		"it cannot be read":    func(r *rig) { r.Fail(ewstest.On("GetItem"), ewstest.FailItem(0, "ErrorItemCorrupt")) },
		"the reader is cut":    func(r *rig) { r.Fail(ewstest.On("GetItem"), ewstest.HangUp()) },
		"the answer has no id": func(r *rig) { r.Fail(ewstest.On("CreateItem").Times(1), ewstest.CutAfter(10)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.alice.Deliver("Drafts", letter(1)) // which stays
			set(r)
			by, got, err := report(t, r, &connection.TestOptions{Write: true, Progress: func(s connection.Step) {
				if s.Name == "write" {
					r.alice.Deliver("Drafts", letter(2)) // somebody else's, and newer
				}
			}})
			if err == nil || by["write"].Status != connection.StatusFailed {
				t.Errorf("write is %s: %v", by["write"].Status, by["write"].Err)
			}
			if by["remove"].Status != connection.StatusOK || r.Calls("DeleteItem") != 1 {
				t.Errorf("remove is %s: %v\n%s", by["remove"].Status, by["remove"].Err, got)
			}
			left := r.Messages(alice, "Drafts")
			if len(left) != 2 || slices.ContainsFunc(left, func(m ewstest.Message) bool { return strings.Contains(string(m.Raw), "mailconn test") }) {
				t.Errorf("%d drafts, want the two of somebody else", len(left))
			}
		})
	}
}

// TestReportOfACancelledTest is complete too.
func TestReportOfACancelledTest(t *testing.T) {
	r := newRig(t, nil)
	for _, step := range append([]string{"write"}, testSteps[:8]...) {
		ctx, cancel := context.WithCancel(t.Context())
		got, err := r.open(t).Test(ctx, &connection.TestOptions{Write: true, Progress: func(s connection.Step) {
			if s.Name == step {
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) || !errors.Is(err, connection.ErrCanceled) {
			t.Errorf("cancelled after %s: %v", step, err)
		}
		if len(got.Steps) != len(testSteps) {
			t.Errorf("cancelled after %s: %d steps\n%s", step, len(got.Steps), got)
		}
	}
	if n := len(r.Messages(alice, "Drafts")); n != 0 {
		t.Errorf("%d drafts stay behind: what was written is removed all the same", n)
	}
	c := r.open(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Test(t.Context(), nil); !errors.Is(err, connection.ErrClosed) || len(got.Steps) == 0 {
		t.Errorf("Test of what is closed: %v", err)
	}
}

// TestTestTriesARefusedLoginAgain: the connection gives up for good after a refused login, until somebody tests it.
func TestTestTriesARefusedLoginAgain(t *testing.T) {
	r := newRig(t, nil)
	testAgain(t, r)
	r = newRig(t, nil)
	r.cfg.DisableAutodiscover = false
	testAgain(t, r)
}

func testAgain(t *testing.T, r *rig) {
	t.Helper()
	r.SetAccountState(alice, ewstest.AccountLocked)
	c := r.open(t)
	for range 3 {
		for _, err := range c.Folders(t.Context(), "") {
			wantKind(t, err, connection.ErrAuth)
		}
	}
	if n := len(r.Logins(alice)); n > 2 {
		t.Errorf("%d logins", n)
	}
	r.SetAccountState(alice, ewstest.AccountActive)
	if got, err := c.Test(t.Context(), nil); err != nil {
		t.Errorf("Test: %v\n%s", err, got)
	}
	for _, err := range c.Folders(t.Context(), "") {
		if err != nil {
			t.Error(err)
		}
	}
}
