package autodiscover_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
)

const found = "https://mail.company.test/EWS/Exchange.asmx"

// TestEveryCandidate puts the one server that knows the mailbox at each place of the chain.
func TestEveryCandidate(t *testing.T) {
	tests := []struct {
		name string
		set  func(w *world)
		opts func(o *autodiscover.Options)
		step string
	}{
		{name: "settings, svc", set: func(w *world) { w.pages[svc("scp.corp.test")] = ews("mail.company.test") }, opts: func(o *autodiscover.Options) {
			o.URLs = []*url.URL{{Scheme: "https", Host: "scp.corp.test", Path: "/autodiscover/autodiscover.svc"}}
		}, step: "autodiscover_urls"},
		{name: "settings, xml in other letters", set: func(w *world) {
			w.pages["https://scp.corp.test/Autodiscover/Autodiscover.xml"] = poxEWS("mail.company.test")
		}, opts: func(o *autodiscover.Options) {
			o.URLs = []*url.URL{{Scheme: "https", Host: "scp.corp.test", Path: "/Autodiscover/Autodiscover.xml"}}
		}, step: "autodiscover_urls"},
		{name: "settings, bare host", set: func(w *world) {
			w.pages[svc("scp.corp.test")], w.pages[xmlAt("scp.corp.test")] = reply(404, ""), poxEWS("mail.company.test")
		}, opts: func(o *autodiscover.Options) {
			o.URLs = []*url.URL{{Scheme: "https", Host: "scp.corp.test"}}
		}, step: "autodiscover_urls"},
		{name: "domain, svc", set: func(w *world) { w.pages[svc("company.test")] = ews("mail.company.test") }, step: "domain"},
		{name: "autodiscover host, svc", set: func(w *world) { w.pages[svc("autodiscover.company.test")] = ews("mail.company.test") }, step: "autodiscover host"},
		{name: "domain, xml", set: func(w *world) { w.pages[xmlAt("company.test")] = poxEWS("mail.company.test") }, step: "domain"},
		{name: "autodiscover host, xml", set: func(w *world) { w.pages[xmlAt("autodiscover.company.test")] = poxEWS("mail.company.test") }, step: "autodiscover host"},
		{name: "http redirect", set: func(w *world) {
			w.pages[plain("autodiscover.company.test")] = location(302, xmlAt("cas.company.test"))
			w.pages[xmlAt("cas.company.test")] = poxEWS("mail.company.test")
		}, step: "http redirect"},
		{name: "http redirect to svc, relative to nothing", set: func(w *world) {
			w.pages[plain("autodiscover.company.test")] = location(301, svc("cas.company.test"))
			w.pages[svc("cas.company.test")] = ews("mail.company.test")
		}, step: "http redirect"},
		{name: "srv", set: func(w *world) {
			w.srv["company.test"] = []*net.SRV{{Target: "cas.company.test.", Port: 443}}
			w.pages[svc("cas.company.test")] = ews("mail.company.test")
		}, step: "srv"},
		{name: "srv, xml", set: func(w *world) {
			w.srv["company.test"] = []*net.SRV{{Target: "cas.company.test.", Port: 443}}
			w.pages[svc("cas.company.test")], w.pages[xmlAt("cas.company.test")] = reply(404, ""), poxEWS("mail.company.test")
		}, step: "srv"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.set(w)
			f := w.finder(func(o *autodiscover.Options) {
				if tt.opts != nil {
					tt.opts(o)
				}
			})
			got := wantURL(t, f, found)
			last := got.Trail[len(got.Trail)-1]
			if last.Step != tt.step || !last.OK {
				t.Errorf("found by %+v, want step %q; tried:\n%s", last, tt.step, lines(got.Trail))
			}
		})
	}
}

// TestOrder has nobody answer and looks at who was asked, and in which order.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	f := w.finder(func(o *autodiscover.Options) {
		o.URLs = []*url.URL{{Scheme: "https", Host: "scp.corp.test", Path: "/autodiscover/autodiscover.xml"}}
	})
	e := failure(t, f, connection.ErrNetwork, "disable_autodiscover")
	got := w.requests()
	for _, pair := range [][2]int{{1, 3}, {3, 5}} {
		slices.Sort(got[pair[0]:pair[1]]) // those of a pair go out at once
	}
	want := []string{
		"POST " + xmlAt("scp.corp.test"),
		"POST " + svc("autodiscover.company.test"), "POST " + svc("company.test"),
		"POST " + xmlAt("autodiscover.company.test"), "POST " + xmlAt("company.test"),
		"GET " + plain("autodiscover.company.test"),
		"SRV company.test",
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked\n%q\nwant\n%q", got, want)
	}
	trail := autodiscover.TrailOf(e)
	if len(trail) != 7 || trail[1].URL != svc("company.test") || trail[2].URL != svc("autodiscover.company.test") || trail[6].URL != "_autodiscover._tcp.company.test" {
		t.Errorf("trail:\n%s", lines(trail))
	}
	if text := e.Error(); !strings.Contains(text, "https://company.test/autodiscover/autodiscover.svc: no such name") {
		t.Errorf("the error does not tell what was tried: %s", text)
	}
}

// TestTheEarlierOfAPairWins gives both hosts an answer, and the first of them its only after the second's.
func TestTheEarlierOfAPairWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pages[svc("company.test")] = later(5*time.Second, ews("mail.company.test"))
		w.pages[svc("autodiscover.company.test")] = ews("wrong.company.test")
		wantURL(t, w.finder(), found)
	})
}

// TestPacketDropOnTheDomain has the bare domain's firewall drop everything: it costs one step, not minutes.
func TestPacketDropOnTheDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hosts["company.test"] = silent
		w.pages[svc("autodiscover.company.test")] = ews("mail.company.test")
		begun := time.Now()
		f := w.finder()
		wantURL(t, f, found)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the search took %s, want no more than one step", took)
		}
		// The next mailbox of the domain does not wait.
		begun = time.Now()
		if _, err := f.Find(t.Context(), "ann@company.test"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("the second search took %s", took)
		}
		if n := w.count(svc("company.test")); n != 1 {
			t.Errorf("the bare domain was asked %d times, want 1", n)
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hosts["company.test"], w.hosts["autodiscover.company.test"] = silent, silent
		e := failure(t, w.finder(), connection.ErrTimeout, "disable_autodiscover")
		if !connection.Temporary(e) {
			t.Errorf("%v is not temporary", e)
		}
	})
}

// TestE29WildcardDNS has every name of the domain lead to a web server that answers everything with a page.
func TestE29WildcardDNS(t *testing.T) {
	w := newWorld(t)
	w.hosts["company.test"] = reply(200, webPage)
	w.pages[svc("autodiscover.company.test")] = ews("mail.company.test")
	got := wantURL(t, w.finder(), found)
	if !strings.Contains(got.Trail[0].Outcome, "web page") {
		t.Errorf("trail:\n%s", lines(got.Trail))
	}
	w = newWorld(t)
	w.hosts["company.test"], w.hosts["autodiscover.company.test"] = reply(200, webPage), reply(200, webPage)
	wantError(t, w.finder(), connection.ErrConfig, "disable_autodiscover")
}

// TestE30WrongCertificate goes on with the next step, and never without verification.
func TestE30WrongCertificate(t *testing.T) {
	w := newWorld(t)
	w.hosts["autodiscover.company.test"] = failing(connection.ErrTLS, "certificate is valid for hosting.test")
	w.srv["company.test"] = []*net.SRV{{Target: "cas.company.test.", Port: 443}}
	w.pages[svc("cas.company.test")] = ews("mail.company.test")
	wantURL(t, w.finder(), found)

	w = newWorld(t)
	w.hosts["autodiscover.company.test"] = failing(connection.ErrTLS, "certificate is valid for hosting.test")
	wantError(t, w.finder(), connection.ErrTLS, "ca_pem")
}

func TestE46NoSOAP(t *testing.T) {
	w := newWorld(t)
	w.pages[svc("company.test")], w.pages[svc("autodiscover.company.test")] = reply(404, ""), reply(404, "")
	w.pages[xmlAt("company.test")] = reply(404, "")
	w.pages[xmlAt("autodiscover.company.test")] = poxEWS("mail.company.test")
	f := w.finder()
	wantURL(t, f, found)
	// Afterwards the domain is known to speak POX.
	if _, err := f.Find(t.Context(), "ann@company.test"); err != nil {
		t.Fatal(err)
	}
	if n := w.count(svc("autodiscover.company.test")); n != 1 {
		t.Errorf("the .svc was asked %d times, want 1", n)
	}
}

func TestE47ErrorsWithStatus200(t *testing.T) {
	for _, code := range []string{"600", "404", "500"} {
		w := newWorld(t)
		w.pages[xmlAt("company.test")] = poxError(code)
		w.pages[xmlAt("autodiscover.company.test")] = poxEWS("mail.company.test")
		wantURL(t, w.finder(), found)

		w = newWorld(t)
		w.pages[xmlAt("company.test")], w.pages[xmlAt("autodiscover.company.test")] = poxError(code), poxError(code)
		if e := failure(t, w.finder(), connection.ErrNotFound, "mailboxes"); e.Code != code || e.Ref.Mailbox != "joe@company.test" {
			t.Errorf("code %q, mailbox %q; want %q and joe's", e.Code, e.Ref.Mailbox, code)
		}
	}
}

func TestSOAPCodes(t *testing.T) {
	tests := []struct {
		code string
		kind connection.Kind
		next bool // the candidates behind are asked
	}{
		{"InvalidUser", connection.ErrNotFound, false},
		{"InvalidDomain", connection.ErrNotFound, true},
		{"InternalServerError", connection.ErrConfig, true},
		{"InvalidRequest", connection.ErrConfig, true},
		{"InvalidSetting", connection.ErrConfig, true},
		{"NotFederated", connection.ErrConfig, true},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			w := newWorld(t)
			w.pages[svc("company.test")] = soapError(tt.code, "")
			wantError(t, w.finder(), tt.kind, "")
			if got := w.count(plain("autodiscover.company.test")) == 1; got != tt.next {
				t.Errorf("asked on: %t, want %t", got, tt.next)
			}
		})
		t.Run(tt.code+" of the whole request", func(t *testing.T) {
			w := newWorld(t)
			w.pages[svc("company.test")] = reply(200, `<e:Envelope xmlns:e="x"><e:Body><GetUserSettingsResponseMessage><Response><ErrorCode> `+tt.code+` </ErrorCode>`+
				`<ErrorMessage>no</ErrorMessage><UserResponses/></Response></GetUserSettingsResponseMessage></e:Body></e:Envelope>`)
			wantError(t, w.finder(), tt.kind, "")
		})
	}
}

// TestServerBusy asks a busy server again when all others have failed, and gives it up in the end.
func TestServerBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		left := 2
		w.pages[svc("company.test")] = func(ctx context.Context, address string) (*autodiscover.Reply, error) {
			if left--; left >= 0 {
				return soapError("ServerBusy", "")(ctx, address)
			}
			return ews("mail.company.test")(ctx, address)
		}
		f := w.finder()
		wantURL(t, f, found)
		requests := w.requests()
		if last := requests[len(requests)-1]; last != "POST "+svc("company.test") || w.count("company.test") != 1 {
			t.Errorf("asked %q, want the busy server last", requests)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pages[svc("company.test")] = soapError("ServerBusy", "")
		if e := failure(t, w.finder(), connection.ErrUnavailable, ""); !connection.Temporary(e) {
			t.Errorf("%v is not temporary", e)
		}
		if n := w.count(svc("company.test")); n != 3 {
			t.Errorf("asked the busy server %d times, want 3", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pages[svc("company.test")] = location(302, "/ews/genericerrorpage.htm?aspxerrorpath=/autodiscover/autodiscover.svc")
		wantError(t, w.finder(), connection.ErrUnavailable, "")
		if n := w.count(svc("company.test")); n != 3 {
			t.Errorf("asked a server that throttles %d times, want 3", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pages[svc("company.test")] = func(context.Context, string) (*autodiscover.Reply, error) {
			return &autodiscover.Reply{Status: 503, Header: http.Header{"Retry-After": {"600"}}, Body: http.NoBody}, nil
		}
		begun := time.Now()
		if e := failure(t, w.finder(), connection.ErrUnavailable, ""); e.RetryAfter != 10*time.Minute {
			t.Errorf("RetryAfter %s, want 10m", e.RetryAfter)
		}
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("waited %s for a server that asks for more than a search may take", took)
		}
	})
}

func TestSRV(t *testing.T) {
	rec := func(target string, port, priority, weight uint16) *net.SRV {
		return &net.SRV{Target: target, Port: port, Priority: priority, Weight: weight}
	}
	t.Run("lowest priority first, then the heaviest", func(t *testing.T) {
		w := newWorld(t)
		w.srv["company.test"] = []*net.SRV{
			rec("d.company.test.", 443, 20, 99), rec("b.company.test.", 443, 10, 1), rec("a.company.test.", 443, 10, 5), nil, rec("c.company.test.", 443, 15, 0),
		}
		w.pages[svc("d.company.test")] = ews("mail.company.test")
		wantURL(t, w.finder(), found)
		var hosts []string
		for _, r := range w.requests() {
			if host, ok := strings.CutPrefix(r, "POST https://"); ok && strings.HasSuffix(r, ".svc") && host[1] == '.' {
				hosts = append(hosts, host[:1])
			}
		}
		if got := strings.Join(hosts, ""); got != "abcd" {
			t.Errorf("asked in the order %q, want abcd", got)
		}
	})
	t.Run("E29: port 444 and no such service", func(t *testing.T) {
		w := newWorld(t)
		w.hostile["a.company.test"] = true
		w.srv["company.test"] = []*net.SRV{rec("a.company.test.", 444, 0, 0), rec(".", 443, 0, 0)}
		e := failure(t, w.finder(), connection.ErrNetwork, "disable_autodiscover")
		if text := e.Error(); !strings.Contains(text, "a.company.test:444 ignored") || !strings.Contains(text, "no such service") {
			t.Error(text)
		}
	})
	t.Run("E29: another organisation's host", func(t *testing.T) {
		w := newWorld(t)
		w.hosts["autodiscover.evil.test"], w.hostile["autodiscover.evil.test"] = ews("mail.evil.test"), true
		w.srv["company.test"] = []*net.SRV{rec("autodiscover.evil.test.", 443, 0, 0)}
		e := failure(t, w.finder(), connection.ErrConfig, `redirect_allow: add "autodiscover.evil.test"`)
		if e.Code != "RedirectBlocked" {
			t.Errorf("code %q", e.Code)
		}
	})
	t.Run("names that are none", func(t *testing.T) {
		w := newWorld(t)
		w.srv["company.test"] = []*net.SRV{rec("a.company.test/x?y.", 443, 0, 0), rec("user@a.company.test", 443, 0, 0)}
		wantError(t, w.finder(), connection.ErrNetwork, "")
	})
	t.Run("many targets", func(t *testing.T) {
		w := newWorld(t)
		for i := range uint16(50) {
			w.srv["company.test"] = append(w.srv["company.test"], rec("h"+string(rune('a'+i%26))+".company.test.", 443, i, 0))
		}
		wantError(t, w.finder(), connection.ErrNetwork, "")
		if n := len(w.requests()); n > 20 {
			t.Errorf("%d requests for one answer of DNS", n)
		}
	})
}

// TestCancelled ends a search with its context, at every step.
func TestCancelled(t *testing.T) {
	for step := range 6 {
		w := newWorld(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		asked := 0
		f := w.finder(func(o *autodiscover.Options) {
			do, lookup := o.Do, o.LookupSRV
			o.Do = func(c context.Context, r *autodiscover.Request) (*autodiscover.Reply, error) {
				w.mu.Lock()
				asked++
				last := asked == step
				w.mu.Unlock()
				if last {
					cancel(nil)
					<-c.Done()
					return nil, c.Err()
				}
				return do(c, r)
			}
			o.LookupSRV = func(c context.Context, service, proto, name string) (string, []*net.SRV, error) {
				if step == 0 {
					cancel(nil)
					<-c.Done()
					return "", nil, c.Err()
				}
				return lookup(c, service, proto, name)
			}
		})
		_, err := f.Find(ctx, "joe@company.test")
		if !errors.Is(err, context.Canceled) || !errors.Is(err, connection.ErrCanceled) {
			t.Errorf("cancelled in request %d: %v", step, err)
		}
		before := len(w.requests())
		if _, err := f.Find(ctx, "joe@company.test"); !errors.Is(err, context.Canceled) || len(w.requests()) != before {
			t.Errorf("with a context that has ended: %v, %d requests", err, len(w.requests())-before)
		}
		cancel(nil)
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	w := newWorld(t)
	f := w.finder()
	for _, address := range []string{
		"", "joe", "@company.test", "joe@", "a@b@c.test", "joe@evil.test/x", "joe@evil.test:444", "joe@evil.test?x=", "joe@evil.test#x", "joe@ev il.test",
		"joe\r\n@company.test", "joe@company..test", "joe@-\x00", "joe@10.0.0.1", "joe@[::1]", "joe@" + strings.Repeat("a", 64) + ".test", "joe@.", "joe@user:pw",
		strings.Repeat("j", 400) + "@company.test",
	} {
		if _, err := f.Find(t.Context(), address); !errors.Is(err, connection.ErrInvalid) {
			t.Errorf("Find(%q): %v, want ErrInvalid", address, err)
		}
	}
	if n := len(w.requests()); n != 0 {
		t.Errorf("%d requests: %q", n, w.requests())
	}
}

// TestE35Domains builds URLs of international names, and reads those of IPv6 hosts.
func TestE35Domains(t *testing.T) {
	w := newWorld(t)
	w.pages[svc("autodiscover.xn--bcher-kva.test")] = soapSettings(setting("ExternalEwsUrl", "https://[2001:db8::1]:8443/EWS/Exchange.asmx"))
	f := w.finder(func(o *autodiscover.Options) { o.Server = "[2001:db8::1]" })
	got, err := f.Find(t.Context(), "joe@Bücher.test")
	if err != nil {
		t.Fatal(err)
	}
	if text := got.URL.String(); text != "https://[2001:db8::1]:8443/EWS/Exchange.asmx" {
		t.Errorf("url %s", text)
	}
	if w.count(svc("xn--bcher-kva.test")) != 1 {
		t.Errorf("asked %q", w.requests())
	}
	w.pages[svc("autodiscover.company.test")] = soapError("RedirectUrl", "https://[2001:DB8:0::1]/autodiscover/autodiscover.svc")
	w.pages["https://[2001:db8::1]/autodiscover/autodiscover.svc"] = ews("mail.company.test")
	wantURL(t, f, found)
}
