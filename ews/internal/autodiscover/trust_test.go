package autodiscover_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
)

// TestE29RedirectTargets redirects in each of the four ways to each of several places.
func TestE29RedirectTargets(t *testing.T) {
	ways := map[string]func(w *world, to string){
		"soap": func(w *world, to string) { w.pages[svc("company.test")] = soapError("RedirectUrl", to) },
		"pox": func(w *world, to string) {
			w.pages[xmlAt("company.test")] = poxAccount("<Action>redirectUrl</Action><RedirectUrl>" + to + "</RedirectUrl>")
		},
		"http":      func(w *world, to string) { w.pages[svc("company.test")] = location(302, to) },
		"http, GET": func(w *world, to string) { w.pages[plain("autodiscover.company.test")] = location(302, to) },
		"http, 307": func(w *world, to string) { w.pages[plain("autodiscover.company.test")] = location(307, to) },
	}
	tests := []struct {
		to      string
		blocked string // by the policy; this host is named
		ok      bool
		opts    func(o *autodiscover.Options)
	}{
		{to: "https://cas.company.test/autodiscover/autodiscover.xml", ok: true},
		{to: "https://CAS.Company.test:443/autodiscover/autodiscover.xml", ok: true},
		{to: "https://company.test/other/autodiscover.xml", ok: true},
		{to: "https://autodiscover-s.outlook.com/autodiscover/autodiscover.xml", ok: true},
		{to: "https://outlook.office365.com/autodiscover/autodiscover.xml", ok: true},
		{to: "https://mail.hosting.test/autodiscover/autodiscover.xml", blocked: "mail.hosting.test"},
		{to: "https://company.test.evil.test/autodiscover/autodiscover.xml", blocked: "company.test.evil.test"},
		{to: "https://notcompany.test/autodiscover/autodiscover.xml", blocked: "notcompany.test"},
		{to: "https://eviloutlook.com/autodiscover/autodiscover.xml", blocked: "eviloutlook.com"},
		{to: "https://outlook.com.evil.test/autodiscover/autodiscover.xml", blocked: "outlook.com.evil.test"},
		{to: "https://192.0.2.1/autodiscover/autodiscover.xml", blocked: "192.0.2.1"},
		{to: "http://cas.company.test/autodiscover/autodiscover.xml"},
		{to: "https://company.test@evil.test/autodiscover/autodiscover.xml"},
		{to: "ftp://cas.company.test/autodiscover/autodiscover.xml"},
		{to: "https:///autodiscover/autodiscover.xml"},
		{to: "https://evil.test\\.company.test/autodiscover/autodiscover.xml"},
		{to: "https://mail.hosting.test/autodiscover/autodiscover.xml", ok: true, opts: func(o *autodiscover.Options) { o.RedirectAllow = []string{"Mail.Hosting.test"} }},
		{to: "https://a.b.hosting.test/autodiscover/autodiscover.xml", ok: true, opts: func(o *autodiscover.Options) { o.RedirectAllow = []string{"*.hosting.test"} }},
		{to: "https://hosting.test/autodiscover/autodiscover.xml", blocked: "hosting.test", opts: func(o *autodiscover.Options) { o.RedirectAllow = []string{"*.hosting.test"} }},
		{to: "https://x.mail.hosting.test/autodiscover/autodiscover.xml", blocked: "x.mail.hosting.test", opts: func(o *autodiscover.Options) { o.RedirectAllow = []string{"mail.hosting.test"} }},
		{to: "https://mail.hosting.test/autodiscover/autodiscover.xml", ok: true, opts: func(o *autodiscover.Options) { o.Server = "cas.hosting.test" }},
		{to: "https://cas2.other.co.uk/autodiscover/autodiscover.xml", blocked: "cas2.other.co.uk", opts: func(o *autodiscover.Options) { o.Server = "mail.company.co.uk" }},
		{to: "https://192.0.2.1/autodiscover/autodiscover.xml", ok: true, opts: func(o *autodiscover.Options) { o.Server = "192.0.2.1" }},
		{to: "https://9.192.0.2.1/autodiscover/autodiscover.xml", blocked: "9.192.0.2.1", opts: func(o *autodiscover.Options) { o.Server = "host.192.0.2.1" }},
		{to: "https://mail.hosting.test/autodiscover/autodiscover.xml", ok: true, opts: func(o *autodiscover.Options) {
			o.RedirectPolicy = func(from, to *url.URL) error { return nil }
		}},
		{to: "https://cas.company.test/autodiscover/autodiscover.xml", blocked: "cas.company.test", opts: func(o *autodiscover.Options) {
			o.RedirectPolicy = func(from, to *url.URL) error { return errors.New("never") }
		}},
		{to: "http://cas.company.test/autodiscover/autodiscover.xml", opts: func(o *autodiscover.Options) {
			o.RedirectPolicy = func(from, to *url.URL) error { return nil }
		}},
	}
	for name, way := range ways {
		for i, tt := range tests {
			t.Run(fmt.Sprintf("%s/%d %s", name, i, tt.to), func(t *testing.T) {
				w := newWorld(t)
				way(w, tt.to)
				if u, err := url.Parse(tt.to); err == nil {
					w.hosts[strings.ToLower(u.Hostname())] = poxEWS("mail.company.test")
					w.hostile[strings.ToLower(u.Hostname())] = !tt.ok
				}
				if name != "http, GET" && name != "http, 307" {
					delete(w.hosts, "company.test") // but for the page that redirects
				}
				if tt.to == "https://company.test/other/autodiscover.xml" {
					w.pages[tt.to] = poxEWS("mail.company.test")
				}
				f := w.finder(func(o *autodiscover.Options) {
					if tt.opts != nil {
						tt.opts(o)
					}
				})
				if tt.ok {
					wantURL(t, f, found)
					return
				}
				_, err := f.Find(t.Context(), "joe@company.test")
				var blocked *autodiscover.RedirectBlockedError
				var e *connection.Error
				switch {
				case !errors.As(err, &e):
					t.Fatalf("Find: %v", err)
				case tt.blocked == "" && errors.As(err, &blocked):
					t.Errorf("%v, but no setting can permit this redirect", err)
				case tt.blocked != "" && (!errors.As(err, &blocked) || e.Kind != connection.ErrConfig || e.Code != "RedirectBlocked"):
					t.Errorf("Find: %v; want a blocked redirect", err)
				case tt.blocked != "" && (!strings.Contains(e.Hint, "redirect_allow") || !strings.Contains(e.Hint, tt.blocked)):
					t.Errorf("hint %q does not name redirect_allow and %s", e.Hint, tt.blocked)
				}
			})
		}
	}
}

// TestE29Loops redirects in circles of addresses and of URLs, and for ever. What is behind the circle is still found.
func TestE29Loops(t *testing.T) {
	t.Run("addresses", func(t *testing.T) {
		w := newWorld(t)
		byAddress := func(ctx context.Context, address string) (*autodiscover.Reply, error) {
			if address == "joe@company.test" {
				return soapError("RedirectAddress", "joe@eu.company.test")(ctx, address)
			}
			return soapError("RedirectAddress", "JOE@company.test")(ctx, address)
		}
		w.pages[svc("company.test")], w.pages[svc("eu.company.test")] = byAddress, byAddress
		e := failure(t, w.finder(), connection.ErrConfig, "")
		if text := e.Error(); !strings.Contains(text, "redirect back to JOE@company.test") {
			t.Error(text)
		}
		if n := w.count(svc("company.test")); n != 1 {
			t.Errorf("asked the first server %d times", n)
		}
		w.pages[xmlAt("autodiscover.company.test")] = poxEWS("mail.company.test")
		wantURL(t, w.finder(), found)
	})
	t.Run("urls", func(t *testing.T) {
		w := newWorld(t)
		w.pages[svc("company.test")] = soapError("RedirectUrl", svc("a.company.test"))
		w.pages[svc("a.company.test")] = soapError("RedirectUrl", svc("b.company.test"))
		w.pages[svc("b.company.test")] = soapError("RedirectUrl", "https://A.company.test:443/autodiscover/autodiscover.svc")
		e := failure(t, w.finder(), connection.ErrConfig, "")
		if text := e.Error(); !strings.Contains(text, "redirect loop") {
			t.Error(text)
		}
		w.pages[xmlAt("autodiscover.company.test")] = poxEWS("mail.company.test")
		wantURL(t, w.finder(), found)
	})
	t.Run("for ever", func(t *testing.T) {
		w := newWorld(t)
		var mu sync.Mutex
		n := 0
		w.hosts["company.test"] = func(ctx context.Context, address string) (*autodiscover.Reply, error) {
			mu.Lock()
			n++
			at := n
			mu.Unlock()
			return soapError("RedirectUrl", fmt.Sprintf("https://company.test/%d/autodiscover.svc", at))(ctx, address)
		}
		e := failure(t, w.finder(), connection.ErrConfig, "")
		if n > 13 || !strings.Contains(e.Error(), "more than 10 redirects") {
			t.Errorf("%d requests, %v", n, e)
		}
	})
	t.Run("addresses for ever", func(t *testing.T) {
		w := newWorld(t)
		for i := range 50 {
			w.pages[svc(fmt.Sprintf("d%d.company.test", i))] = soapError("RedirectAddress", fmt.Sprintf("joe@d%d.company.test", i+1))
		}
		w.pages[svc("company.test")] = soapError("RedirectAddress", "joe@d0.company.test")
		wantError(t, w.finder(), connection.ErrConfig, "")
		if w.count(svc("d10.company.test")) != 0 {
			t.Errorf("followed more than 10 redirects: %q", w.requests())
		}
	})
}

// TestE61SameAddress drops a URL that redirects to the address it was asked about.
func TestE61SameAddress(t *testing.T) {
	for _, answer := range []page{soapError("RedirectAddress", "Joe@Company.test"), soapError("RedirectAddress", "joe@company.test")} {
		w := newWorld(t)
		w.pages[svc("company.test")] = answer
		w.pages[svc("autodiscover.company.test")] = ews("mail.company.test")
		wantURL(t, w.finder(), found)
	}
	w := newWorld(t)
	w.pages[xmlAt("company.test")] = poxAccount("<Action>redirectAddr</Action><RedirectAddr>joe@company.test</RedirectAddr>")
	w.pages[xmlAt("autodiscover.company.test")] = poxEWS("mail.company.test")
	wantURL(t, w.finder(), found)
}

// TestHybrid redirects joe to an address in a domain that nothing vouches for: its own hosts get no credentials, but the
// plain redirect there leads to Exchange Online, which may have them.
func TestHybrid(t *testing.T) {
	w := newWorld(t)
	w.pages[svc("company.test")] = soapError("RedirectAddress", "joe@company.mail.onmicrosoft.test")
	w.hosts["company.mail.onmicrosoft.test"], w.hostile["company.mail.onmicrosoft.test"] = ews("evil.test"), true
	w.hosts["autodiscover.company.mail.onmicrosoft.test"], w.hostile["autodiscover.company.mail.onmicrosoft.test"] = ews("evil.test"), true
	w.pages[plain("autodiscover.company.mail.onmicrosoft.test")] = location(302, xmlAt("autodiscover-s.outlook.com"))
	w.pages[xmlAt("autodiscover-s.outlook.com")] = poxEWS("outlook.office365.com")
	wantURL(t, w.finder(), "https://outlook.office365.com/EWS/Exchange.asmx")
	if w.count(svc("company.mail.onmicrosoft.test")) != 0 {
		t.Errorf("asked %q", w.requests())
	}
}

// TestPlainRedirectToItself: what http says of a host that nothing vouches for does not vouch for it.
func TestPlainRedirectToItself(t *testing.T) {
	w := newWorld(t)
	w.pages[svc("company.test")] = soapError("RedirectAddress", "joe@evil.test")
	w.pages[plain("autodiscover.evil.test")] = location(302, xmlAt("autodiscover.evil.test"))
	w.hosts["evil.test"], w.hosts["autodiscover.evil.test"] = ews("mail.evil.test"), poxEWS("mail.evil.test")
	w.hostile["evil.test"], w.hostile["autodiscover.evil.test"] = true, true
	delete(w.pages, plain("autodiscover.company.test"))
	if e := failure(t, w.finder(), connection.ErrConfig, "redirect_allow"); e.Code != "RedirectBlocked" {
		t.Errorf("code %q", e.Code)
	}
}

// TestDomainsThatEverybodyRegistersBelow vouch for no host but the domain itself.
func TestDomainsThatEverybodyRegistersBelow(t *testing.T) {
	for domain, evil := range map[string]string{"co.uk": "evil.co.uk", "localnet": "evil.localnet", "github.io": "evil.github.io"} {
		w := newWorld(t)
		w.pages[svc(domain)] = soapError("RedirectUrl", svc(evil))
		w.hosts[evil], w.hostile[evil] = ews("mail.evil.test"), true
		_, err := w.finder().Find(t.Context(), "joe@"+domain)
		var blocked *autodiscover.RedirectBlockedError
		if !errors.As(err, &blocked) {
			t.Errorf("%s: %v", domain, err)
		}
		w.pages[svc(domain)] = soapError("RedirectUrl", "https://autodiscover."+domain+"/other/autodiscover.svc")
		w.pages["https://autodiscover."+domain+"/other/autodiscover.svc"] = ews("mail.company.test")
		if got, err := w.finder().Find(t.Context(), "joe@"+domain); err != nil || got.URL.String() != found {
			t.Errorf("%s: %v, %v", domain, got, err)
		}
	}
}

// TestBusyBehindARedirect asks a busy server three times about the address that it was recommended for, and no other.
func TestBusyBehindARedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pages[svc("company.test")] = soapError("RedirectAddress", "joe@eu.company.test")
		asked := 0
		w.pages[svc("eu.company.test")] = func(ctx context.Context, address string) (*autodiscover.Reply, error) {
			asked++
			if address != "joe@eu.company.test" {
				t.Errorf("asked for %s", address)
			}
			return soapError("ServerBusy", "")(ctx, address)
		}
		wantError(t, w.finder(), connection.ErrUnavailable, "")
		if asked != 3 {
			t.Errorf("asked %d times, want 3", asked)
		}
	})
}

// TestRedirectedAddressFindsItsMailbox follows a redirect within the organisation.
func TestRedirectedAddressFindsItsMailbox(t *testing.T) {
	w := newWorld(t)
	w.pages[svc("company.test")] = soapError("RedirectAddress", "joe@eu.company.test")
	w.pages[svc("eu.company.test")] = ews("mail.eu.company.test")
	got := wantURL(t, w.finder(), "https://mail.eu.company.test/EWS/Exchange.asmx")
	if got.Address != "joe@eu.company.test" && got.Address != "joe@company.test" {
		t.Errorf("address %q", got.Address)
	}
}

func TestRedirectTargetsThatAreNone(t *testing.T) {
	for _, target := range []string{"", "joe", "joe@evil.test/autodiscover?", "joe@\x01", "a@b@c"} {
		w := newWorld(t)
		w.pages[svc("company.test")] = soapError("RedirectAddress", strings.ReplaceAll(target, "\x01", "&#x1;"))
		w.pages[svc("autodiscover.company.test")] = ews("mail.company.test")
		wantURL(t, w.finder(), found)
	}
	// A redirect to a login page is no redirect of autodiscover.
	w := newWorld(t)
	w.pages[svc("company.test")] = location(302, "https://company.test/owa/auth/logon.aspx?url=x")
	w.pages[plain("autodiscover.company.test")] = location(302, "https://autodiscover.company.test/login")
	w.hosts["autodiscover.company.test"] = reply(200, webPage)
	wantError(t, w.finder(), connection.ErrConfig, "disable_autodiscover")
	if w.count("https://company.test/owa/auth/logon.aspx?url=x") != 0 || w.count("https://autodiscover.company.test/login") != 0 {
		t.Errorf("asked a login page: %q", w.requests())
	}
}

// TestRefusedOnce has one candidate refuse the account and the other accept it.
func TestRefusedOnce(t *testing.T) {
	w := newWorld(t)
	w.hosts["company.test"] = unauthorized()
	w.pages[svc("autodiscover.company.test")] = ews("mail.company.test")
	f := w.finder()
	wantURL(t, f, found)
	if _, _, err := f.Search(t.Context(), "joe@company.test"); err != nil {
		t.Fatal(err)
	}
	if n := w.count(svc("company.test")); n != 1 {
		t.Errorf("asked the host that refuses %d times, want 1", n)
	}
	f.Reset()
	if _, _, err := f.Search(t.Context(), "joe@company.test"); err != nil || w.count(svc("company.test")) != 2 {
		t.Errorf("after Reset: %v, asked %d times", err, w.count(svc("company.test")))
	}
}

// TestE62WrongPassword has every host refuse the account, and many goroutines ask for many mailboxes.
func TestE62WrongPassword(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"company.test", "autodiscover.company.test", "cas.company.test", "scp.company.test"} {
		w.hosts[host] = unauthorized()
	}
	w.pages[plain("autodiscover.company.test")] = location(302, xmlAt("cas.company.test"))
	f := w.finder(func(o *autodiscover.Options) { o.URLs = []*url.URL{mustParse(t, "https://scp.company.test/")} })
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			_, err := f.Find(t.Context(), fmt.Sprintf("user%d@company.test", i))
			if !errors.Is(err, connection.ErrAuth) {
				t.Errorf("Find: %v, want ErrAuth", err)
			}
		})
	}
	wg.Wait()
	logins := 0
	for _, r := range w.requests() {
		if strings.HasPrefix(r, "POST ") {
			logins++
		}
	}
	if logins > 2 {
		t.Errorf("%d logins with a wrong password: %q", logins, w.requests())
	}
	wantError(t, f, connection.ErrAuth, "password")
}

// TestE62SlowRefusals has three hosts refuse the account, each after a while.
func TestE62SlowRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, host := range []string{"company.test", "autodiscover.company.test", "scp.company.test"} {
			w.hosts[host] = later(time.Second, unauthorized())
		}
		f := w.finder(func(o *autodiscover.Options) { o.URLs = []*url.URL{mustParse(t, svc("scp.company.test"))} })
		wantError(t, f, connection.ErrAuth, "password")
		if n := len(w.requests()); n != 2 {
			t.Errorf("%d logins with a wrong password: %q", n, w.requests())
		}
	})
}

// TestWhoKnowsTheAccountDecides: one host refuses it, another accepts it and says that there is no such mailbox.
func TestWhoKnowsTheAccountDecides(t *testing.T) {
	w := newWorld(t)
	w.hosts["company.test"] = unauthorized()
	w.pages[svc("autodiscover.company.test")] = soapError("InvalidUser", "")
	wantError(t, w.finder(), connection.ErrNotFound, "mailboxes")
}

// TestEWSURLs gives EWS URLs that are of no use.
func TestEWSURLs(t *testing.T) {
	for _, bad := range []string{"", "http://mail.company.test/EWS/Exchange.asmx", "https://user:pw@mail.company.test/EWS/Exchange.asmx", "/EWS/Exchange.asmx", "mailto:joe@company.test", "https://", "%zz"} {
		w := newWorld(t)
		w.pages[svc("company.test")] = soapSettings(setting("ExternalEwsUrl", bad))
		w.pages[svc("autodiscover.company.test")] = ews("mail.company.test")
		wantURL(t, w.finder(), found)

		w = newWorld(t)
		w.pages[svc("company.test")] = soapSettings(setting("ExternalEwsUrl", bad), setting("InternalEwsUrl", found))
		wantURL(t, w.finder(), found)
	}
	w := newWorld(t)
	w.pages[svc("company.test")] = soapSettings(setting("ExternalEwsUrl", "http://mail.company.test/EWS/Exchange.asmx"))
	if e := failure(t, w.finder(), connection.ErrConfig, ""); !strings.Contains(e.Error(), "in the clear") {
		t.Error(e)
	}
}

// reachable is an Options.Reachable that knows hosts.
func reachable(answers func(host string) bool) func(context.Context, *url.URL) error {
	return func(_ context.Context, u *url.URL) error {
		if !answers(u.Hostname()) {
			return errors.New("no route")
		}
		return nil
	}
}

// TestWhichURL chooses between the URLs for inside and outside.
func TestWhichURL(t *testing.T) {
	const outside, inside = "https://mail.company.test/EWS/Exchange.asmx", "https://cas1.corp.local/EWS/Exchange.asmx"
	both := soapSettings(setting("InternalEwsUrl", inside), setting("ExternalEwsUrl", outside))
	answers := func(hosts ...string) func(context.Context, *url.URL) error {
		return func(_ context.Context, u *url.URL) error {
			for _, h := range hosts {
				if u.Hostname() == h {
					return nil
				}
			}
			return errors.New("no route")
		}
	}
	tests := []struct {
		name   string
		server string
		reach  func(context.Context, *url.URL) error
		want   string
	}{
		{name: "external first", want: outside},
		{name: "both answer", reach: answers("mail.company.test", "cas1.corp.local"), want: outside},
		{name: "only the internal answers", reach: answers("cas1.corp.local"), want: inside},
		{name: "neither answers", reach: answers(), want: outside},
		{name: "server is inside", server: "cas2.corp.local", want: inside},
		{name: "server is the internal host", server: "CAS1.corp.local", want: inside},
		{name: "server is inside, but only the external answers", server: "cas1.corp.local", reach: answers("mail.company.test"), want: outside},
		{name: "server is the external host", server: "mail.company.test", want: outside},
		{name: "server is elsewhere", server: "x.other.test", want: outside},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.pages[svc("company.test")] = both
			wantURL(t, w.finder(func(o *autodiscover.Options) { o.Server, o.Reachable = tt.server, tt.reach }), tt.want)
		})
	}
	t.Run("one domain for both, server is the external host", func(t *testing.T) {
		w := newWorld(t)
		w.pages[svc("company.test")] = soapSettings(setting("ExternalEwsUrl", outside), setting("InternalEwsUrl", "https://cas1.company.test/EWS/Exchange.asmx"))
		wantURL(t, w.finder(func(o *autodiscover.Options) { o.Server = "mail.company.test" }), outside)
		wantURL(t, w.finder(func(o *autodiscover.Options) { o.Server = "cas1.company.test" }), "https://cas1.company.test/EWS/Exchange.asmx")
		wantURL(t, w.finder(func(o *autodiscover.Options) { o.Server = "cas2.company.test" }), outside)
	})
}
