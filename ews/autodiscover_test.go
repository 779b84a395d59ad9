package ews_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// found is what autodiscover answers if nobody says otherwise.
const found = "exchange.corp.test"

// hosts returns the names that EWS requests went to.
func (r *rig) hosts() []string {
	var names []string
	for _, q := range r.Requests() {
		if strings.HasSuffix(strings.ToLower(q.Path), ".asmx") && q.Operation != "" && !slices.Contains(names, q.Host) {
			names = append(names, q.Host)
		}
	}
	return names
}

// opensAlice looks at alice's folders and returns where that was done.
func opensAlice(t *testing.T, r *rig) []string {
	t.Helper()
	for _, err := range r.open(t).Folders(t.Context(), alice) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r.hosts()
}

// wayward is a rig in whose network nobody but the given hosts exists.
func wayward(t *testing.T, opts *ewstest.Options, hosts ...string) *rig {
	r := newRig(t, opts).discovering()
	r.cfg.Server = ""
	r.SetHost("*", ewstest.Host{Unknown: true})
	for _, name := range append(hosts, found) {
		r.SetHost(name, ewstest.Host{})
	}
	return r
}

// TestAutodiscoverChain has one host after the other be the only one that answers.
func TestAutodiscoverChain(t *testing.T) {
	for name, set := range map[string]func(t *testing.T) *rig{
		"the domain": func(t *testing.T) *rig { return wayward(t, nil, "corp.test") },
		"the domain, POX": func(t *testing.T) *rig {
			return wayward(t, &ewstest.Options{Autodiscover: ewstest.Autodiscover{NoSOAP: true}}, "corp.test")
		},
		"autodiscover": func(t *testing.T) *rig { return wayward(t, nil, "autodiscover.corp.test") },
		"autodiscover, POX": func(t *testing.T) *rig {
			return wayward(t, &ewstest.Options{Version: "2007_SP1"}, "autodiscover.corp.test")
		},
		"the plain redirect": func(t *testing.T) *rig {
			r := wayward(t, nil, "cas.corp.test")
			r.SetHost("autodiscover.corp.test", ewstest.Host{RefuseTLS: true, PlainRedirect: "https://cas.corp.test/autodiscover/autodiscover.xml"})
			return r
		},
		"the settings": func(t *testing.T) *rig {
			r := wayward(t, nil, "scp.corp.test")
			r.cfg.AutodiscoverURLs = []string{"https://scp.corp.test/autodiscover/autodiscover.svc"}
			return r
		},
		"SRV": func(t *testing.T) *rig {
			return wayward(t, &ewstest.Options{SRV: map[string][]ewstest.SRV{"_autodiscover._tcp.corp.test": {
				{Target: "down.corp.test", Port: 443, Priority: 1}, {Target: "cas.corp.test", Port: 443, Priority: 2},
			}}}, "cas.corp.test")
		},
	} {
		t.Run(name, func(t *testing.T) {
			if hosts := opensAlice(t, set(t)); !slices.Equal(hosts, []string{found}) {
				t.Errorf("EWS requests went to %q, want %q", hosts, found)
			}
		})
	}
}

// TestE30CertificateOfAutodiscover goes on with the next step, and the password goes nowhere.
func TestE30CertificateOfAutodiscover(t *testing.T) {
	for name, bad := range map[string]ewstest.Certificate{"wrong name": ewstest.CertificateWrongName, "expired": ewstest.CertificateExpired, "self-signed": ewstest.CertificateSelfSigned} {
		t.Run(name, func(t *testing.T) {
			r := wayward(t, &ewstest.Options{SRV: map[string][]ewstest.SRV{"_autodiscover._tcp.corp.test": {{Target: "cas.corp.test", Port: 443}}}}, "cas.corp.test")
			r.SetHost("autodiscover.corp.test", ewstest.Host{Certificate: bad, Hostile: true})
			if hosts := opensAlice(t, r); !slices.Equal(hosts, []string{found}) {
				t.Errorf("EWS requests went to %q", hosts)
			}
		})
	}
}

// TestE29Redirects sends autodiscover where it must not go. The server fails the test if a hostile host sees a credential.
func TestE29Redirects(t *testing.T) {
	const evil = "autodiscover.evil.invalid"
	for name, set := range map[string]func(r *rig){
		"soap": func(r *rig) {
			r.SetAnswer("*", "*", ewstest.Answer{RedirectURL: "https://" + evil + "/autodiscover/autodiscover.svc"})
		},
		"plain": func(r *rig) {
			r.SetHost("autodiscover.corp.test", ewstest.Host{RefuseTLS: true, PlainRedirect: "https://" + evil + "/autodiscover/autodiscover.xml"})
		},
		"plain, 301": func(r *rig) {
			r.SetHost("autodiscover.corp.test", ewstest.Host{RefuseTLS: true, PlainStatus: 301, PlainRedirect: "https://" + evil + "/autodiscover/autodiscover.xml"})
		},
		"address": func(r *rig) { r.SetAnswer("*", "*", ewstest.Answer{RedirectAddress: "alice@evil.invalid"}) },
		"srv":     func(r *rig) { r.SetHost("autodiscover.corp.test", ewstest.Host{Unknown: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := wayward(t, &ewstest.Options{SRV: map[string][]ewstest.SRV{"_autodiscover._tcp.corp.test": {{Target: evil, Port: 443}}}}, "autodiscover.corp.test")
			for _, host := range []string{evil, "evil.invalid"} {
				r.SetHost(host, ewstest.Host{Hostile: true})
			}
			set(r)
			c := r.open(t)
			for _, err := range c.Folders(t.Context(), alice) {
				e := theError(t, err, connection.ErrConfig)
				var blocked *ews.RedirectBlockedError
				if !errors.As(err, &blocked) || e.Code != "RedirectBlocked" || !strings.Contains(e.Hint, "redirect_allow") {
					t.Errorf("%v, with the hint %q", err, e.Hint)
				}
			}
		})
	}
	t.Run("to http", func(t *testing.T) {
		r := wayward(t, nil, "autodiscover.corp.test")
		r.SetAnswer("*", "*", ewstest.Answer{RedirectURL: "http://autodiscover.corp.test/autodiscover/autodiscover.svc"})
		for _, err := range r.open(t).Folders(t.Context(), alice) {
			wantKind(t, err, connection.ErrConfig)
		}
	})
	t.Run("permitted", func(t *testing.T) {
		r := wayward(t, nil, "autodiscover.corp.test", "cas.other.invalid")
		r.SetAnswer("autodiscover.corp.test", "*", ewstest.Answer{RedirectURL: "https://cas.other.invalid/autodiscover/autodiscover.svc"})
		r.cfg.RedirectAllow = []string{"*.other.invalid"}
		if hosts := opensAlice(t, r); !slices.Equal(hosts, []string{found}) {
			t.Errorf("EWS requests went to %q", hosts)
		}
		r.cfg.RedirectAllow, r.cfg.RedirectPolicy = nil, func(_, to *url.URL) error {
			if to.Hostname() != "cas.other.invalid" && !strings.HasSuffix(to.Hostname(), "corp.test") {
				return errors.New("no")
			}
			return nil
		}
		opensAlice(t, r)
	})
	t.Run("A to B to A", func(t *testing.T) {
		r := wayward(t, nil, "autodiscover.corp.test", "autodiscover.eu.corp.test")
		r.SetAnswer("*", alice, ewstest.Answer{RedirectAddress: "alice@eu.corp.test"})
		r.SetAnswer("*", "alice@eu.corp.test", ewstest.Answer{RedirectAddress: alice})
		for _, err := range r.open(t).Folders(t.Context(), alice) {
			e := theError(t, err, connection.ErrConfig)
			if !strings.Contains(e.Error(), "redirect back") {
				t.Error(e)
			}
		}
	})
}

// TestE61RedirectToTheSameAddress drops the URL that says so.
func TestE61RedirectToTheSameAddress(t *testing.T) {
	r := wayward(t, nil, "corp.test", "autodiscover.corp.test")
	r.SetAnswer("corp.test", alice, ewstest.Answer{RedirectAddress: "ALICE@corp.test"})
	if hosts := opensAlice(t, r); !slices.Equal(hosts, []string{found}) {
		t.Errorf("EWS requests went to %q", hosts)
	}
}

// TestE29WildcardWebServer has every name of the domain lead to a web server that shows a page.
func TestE29WildcardWebServer(t *testing.T) {
	r := wayward(t, nil)
	r.SetHost("corp.test", ewstest.Host{Handler: ewstest.AnswerPage("This domain is parked")})
	r.SetHost("autodiscover.corp.test", ewstest.Host{})
	if hosts := opensAlice(t, r); !slices.Equal(hosts, []string{found}) {
		t.Errorf("EWS requests went to %q", hosts)
	}
}

// TestE47UnknownToPOX: errors come with status 200, and mean that there is no such mailbox.
func TestE47UnknownToPOX(t *testing.T) {
	for _, code := range []string{"500", "600", "404"} {
		r := wayward(t, &ewstest.Options{Autodiscover: ewstest.Autodiscover{NoSOAP: true}}, "corp.test", "autodiscover.corp.test")
		r.SetAnswer("corp.test", alice, ewstest.Answer{Code: code})
		if hosts := opensAlice(t, r); !slices.Equal(hosts, []string{found}) {
			t.Errorf("%s: EWS requests went to %q", code, hosts)
		}
		r.SetAnswer("autodiscover.corp.test", alice, ewstest.Answer{Code: code})
		for _, err := range r.open(t).Folders(t.Context(), alice) {
			e := theError(t, err, connection.ErrNotFound)
			if !strings.Contains(e.Error(), alice) || e.Ref.ID != "" {
				t.Error(e)
			}
		}
	}
}

// TestE31UnknownToAutodiscover concerns that mailbox alone.
func TestE31UnknownToAutodiscover(t *testing.T) {
	r := wayward(t, nil, "autodiscover.corp.test")
	c := r.open(t)
	for _, err := range c.Folders(t.Context(), "nobody@corp.test") {
		wantKind(t, err, connection.ErrNotFound)
	}
	for _, err := range c.Folders(t.Context(), alice) {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestManyServers has each mailbox on another server.
func TestManyServers(t *testing.T) {
	r := wayward(t, nil, "autodiscover.corp.test", "cas1.corp.test", "cas2.corp.test")
	r.AddMailbox(bob, ewstest.MailboxOptions{Password: canary})
	r.GrantImpersonation(svc)
	r.SetAnswer("*", alice, ewstest.Answer{External: "https://cas1.corp.test/EWS/Exchange.asmx"})
	r.SetAnswer("*", bob, ewstest.Answer{External: "https://cas2.corp.test/EWS/Exchange.asmx"})
	c := r.open(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for _, err := range c.Folders(t.Context(), []string{alice, bob}[i%2]) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, q := range r.Requests() {
		if want := map[string]string{alice: "cas1.corp.test", bob: "cas2.corp.test"}[q.Mailbox]; q.Operation != "" && want != "" && q.Host != want && strings.HasSuffix(strings.ToLower(q.Path), ".asmx") {
			t.Errorf("%s for %s went to %s", q.Operation, q.Mailbox, q.Host)
		}
	}
	if n := r.Calls("GetUserSettings"); n > 4 {
		t.Errorf("autodiscover was asked %d times for two mailboxes", n)
	}
}

// A cabinet is a Cache.
type cabinet struct {
	mu sync.Mutex
	by map[string]ews.CacheEntry
}

func (c *cabinet) Load(_ context.Context, key string) (ews.CacheEntry, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.by[key]
	return e, ok, nil
}

func (c *cabinet) Store(_ context.Context, key string, e ews.CacheEntry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[key] = e
	return nil
}

// TestE28MovedMailbox: the server that the cache names has it no more, and autodiscover knows where it went.
func TestE28MovedMailbox(t *testing.T) {
	for name, broken := range map[string]ewstest.Fault{
		"it says so":       ewstest.Refuse("ErrorMailboxMoveInProgress", "Mailbox move in progress. Try again later."),
		"it cannot say":    ewstest.Refuse("ErrorConnectionFailed", "Connection failed. Try again later."),
		"it is overloaded": ewstest.Page(502, "Bad Gateway"),
	} {
		t.Run(name, func(t *testing.T) {
			r := wayward(t, nil, "autodiscover.corp.test", "old.corp.test", "new.corp.test")
			r.SetAnswer("*", alice, ewstest.Answer{External: "https://new.corp.test/EWS/Exchange.asmx"})
			r.Fail(ewstest.On("*").Host("old.corp.test"), broken)
			r.cfg.ID = "exchange"
			cache := &cabinet{by: map[string]ews.CacheEntry{
				"exchange\n" + alice: {URL: "https://old.corp.test/EWS/Exchange.asmx", Found: time.Now().Add(-2 * time.Hour)},
			}}
			r.cfg.Cache = cache
			hosts := opensAlice(t, r)
			if !slices.Equal(hosts, []string{"old.corp.test", "new.corp.test"}) {
				t.Errorf("EWS requests went to %q", hosts)
			}
			if got := cache.by["exchange\n"+alice].URL; got != "https://new.corp.test/EWS/Exchange.asmx" {
				t.Errorf("the cache says %q", got)
			}
		})
	}
	t.Run("without autodiscover", func(t *testing.T) {
		r := newRig(t, nil).impersonating()
		r.Fail(ewstest.On("*"), ewstest.Refuse("ErrorMailboxMoveInProgress", "Mailbox move in progress. Try again later."))
		for _, err := range r.open(t).Folders(t.Context(), alice) {
			if e := theError(t, err, connection.ErrUnavailable); !strings.Contains(e.Hint, "disable_autodiscover") || !connection.Temporary(e) {
				t.Errorf("%v, with the hint %q", e, e.Hint)
			}
		}
	})
}

// TestE35DomainsInOtherScripts asks the hosts of an international domain by their names in DNS.
func TestE35DomainsInOtherScripts(t *testing.T) {
	const address = "joe@xn--bcher-kva.test"
	r := newRig(t, nil)
	r.AddMailbox(address, ewstest.MailboxOptions{Password: canary, Aliases: []string{"joe@bücher.test"}})
	r.cfg.DisableAutodiscover, r.cfg.Server, r.cfg.Username = false, "", "joe@bücher.test"
	r.SetAnswer("*", "*", ewstest.Answer{External: "https://exchange.bücher.test/EWS/Exchange.asmx"})
	r.cfg.LookupSRV = lookupSRV(r.Server)
	for _, err := range r.open(t).Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if hosts := r.hosts(); !slices.Equal(hosts, []string{"exchange.xn--bcher-kva.test"}) {
		t.Errorf("EWS requests went to %q", hosts)
	}
}

// TestE35AddressAsServer takes an IPv6 address for server.
func TestE35AddressAsServer(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.Server, r.cfg.AllowAnyHost = "2001:db8::1", true
	r.cfg.ServerName = found // the certificate is for that
	for _, err := range r.open(t).Folders(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if hosts := r.hosts(); !slices.Equal(hosts, []string{"[2001:db8::1]"}) {
		t.Errorf("EWS requests went to %q", hosts)
	}
}
