package pop3client_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/pop3client/pop3test"
)

// observed returns an environment that keeps the events of a kind.
func observed(kind connection.EventKind) (*connection.Env, func() []connection.Event) {
	seen := make(chan connection.Event, 1000)
	env := &connection.Env{Observe: func(ev connection.Event) {
		if ev.Kind == kind {
			seen <- ev
		}
	}}
	return env, func() []connection.Event {
		var all []connection.Event
		for len(seen) > 0 {
			all = append(all, <-seen)
		}
		return all
	}
}

// Every octet comes as it is, whatever the server's segments are. A last line without an end gets one on the wire.
func TestBytes(t *testing.T) {
	raws := [][]byte{
		[]byte("Subject: a\r\n\r\n.hidden\r\n..two\r\n.\r\n"), []byte(".first\r\n"), []byte(".\r\n.\r\n"), []byte(""),
		[]byte("From x\r\n\r\n>From y\r\n"), []byte("no header"), []byte("bare\nLF\n.\n.x\n"), []byte("bare\rCR\r.\r.x\r"),
		[]byte("NUL \x00 and \xe9\xff\r\n"), []byte("\r\n"), []byte("\n"), []byte("\r"), []byte("a\r\n.\r"),
	}
	long := append(bytes.Repeat([]byte("0123456789"), 1000), "\r\n"...)
	longer := append(bytes.Repeat([]byte("."), 100_000), "\r\nx\r\n"...)
	var want []string
	for _, raw := range append(raws, long, longer) {
		text := string(raw)
		if text != "" && !strings.HasSuffix(text, "\r\n") {
			text += "\r\n"
		}
		want = append(want, text)
	}
	for _, maxWrite := range []int{0, 1, 7} {
		srv := pop3test.NewServer(t, &pop3test.Options{Mode: connection.ModeInsecure, MaxWrite: maxWrite})
		srv.Deliver(append(raws, long, longer)...)
		wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), want...)
	}
}

func TestMegabyteLine(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	want := []byte("Subject: " + strings.Repeat("x", 1<<20) + "\r\n\r\n." + strings.Repeat("y", 1<<20) + "\r\n")
	srv.Deliver(want)
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), string(want))
}

func TestOddListings(t *testing.T) {
	const body = "Subject: x\r\n\r\ny\r\n"
	header := pop3test.Do(pop3test.Expect("TOP 1 0"), pop3test.SendRaw("+OK\r\nSubject: x\r\n\r\n.\r\n"))
	for name, tt := range map[string]struct {
		stat, uidl, list []string
		steps            []pop3test.Step
	}{
		"bare STAT":        {[]string{"+OK"}, []string{"+OK", "1 a", "."}, []string{"+OK", "1 16", "."}, nil},
		"tab and capitals": {[]string{"+ok\t1 16"}, []string{"+Ok", "1\ta\tjunk", "."}, []string{"+OK2 300", "  1   16 junk", "."}, nil},
		"LIST of one word": {[]string{"+OK 1 16"}, []string{"+OK", "1 a", "."}, []string{"+OK", "1", "."}, nil},
		"LIST refused":     {[]string{"+OK 1 16"}, []string{"+OK", "1 a", "."}, []string{"-ERR no"}, nil},
		"STAT refused":     {[]string{"-ERR no"}, []string{"+OK", "1 a", "."}, []string{"+OK", "1 16", "."}, nil},
		"UIDL of one word": {[]string{"+OK 1 16"}, []string{"+OK", "1", "."}, []string{"+OK", "1 16", "."}, []pop3test.Step{header}},
		"UIDL too long":    {[]string{"+OK 1 16"}, []string{"+OK", "1 " + strings.Repeat("u", 2000), "."}, []string{"+OK", "1 16", "."}, []pop3test.Step{header}},
		"LIST of more":     {[]string{"+OK 1 16"}, []string{"+OK", "1 a", "."}, []string{"+OK", "1 16", "2 20", "7 1", "."}, nil},
		"LIST without it":  {[]string{"+OK 1 16"}, []string{"+OK", "1 a", "."}, []string{"+OK", "."}, nil},
		"STAT counts more": {[]string{"+OK 7 160"}, []string{"+OK", "1 a", "."}, []string{"+OK", "1 16", "."}, nil},
		"STAT counts less": {[]string{"+OK 0 0"}, []string{"+OK", "1 a", "."}, []string{"+OK", "."}, nil},
		"an empty line":    {[]string{"+OK 1 16"}, []string{"+OK", "", "1 a", "."}, []string{"+OK", "1 16", "."}, nil},
		"only STAT works":  {[]string{"+OK 1 16"}, []string{"-ERR no"}, []string{"-ERR no"}, []pop3test.Step{header}},
	} {
		t.Run(name, func(t *testing.T) {
			begin := pop3test.Do(pop3test.Welcome("TOP"), pop3test.Expect("STAT"), pop3test.Send(tt.stat...))
			list := pop3test.Do(pop3test.Expect("UIDL"), pop3test.Send(tt.uidl...), pop3test.Expect("LIST"), pop3test.Send(tt.list...), pop3test.Do(tt.steps...))
			again := pop3test.Script{begin, list}
			if strings.HasSuffix(tt.stat[0], "1 16") {
				again = pop3test.Script{begin} // the same count and octets: nothing is new
			}
			srv := pop3test.NewScript(t, nil, pop3test.Script{begin, list, pop3test.Expect("RETR 1"), pop3test.SendRaw("+OK\r\n" + body + ".\r\n")}, again)
			wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), body)
		})
	}
}

func TestBadListingIsAnError(t *testing.T) {
	for name, line := range map[string]string{"no number": "x a", "zero": "0 a", "huge number": "99999999999 a", "endless line": strings.Repeat("x", 9000)} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewScript(t, &pop3test.ScriptOptions{Repeat: true, Lenient: true}, pop3test.Script{
				pop3test.Welcome(), pop3test.Expect("STAT"), pop3test.Send("+OK 1 16"), pop3test.Expect("UIDL"), pop3test.Send("+OK", line, "."), pop3test.Stall(),
			})
			all := collect(t, open(t, srv.Config(), nil), nil)
			wantKind(t, all[len(all)-1].Err, connection.ErrProtocol)
		})
	}
}

func TestBareLFServer(t *testing.T) {
	for _, tt := range []struct {
		set  string
		want connection.Kind
	}{{pop3client.Auto, connection.ErrUnknown}, {pop3client.On, connection.ErrUnknown}, {pop3client.Off, connection.ErrProtocol}} {
		srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{BareLF: true}})
		srv.Deliver([]byte("a\r\n.b\r\n.\r\n"))
		cfg := srv.Config()
		cfg.TolerateBareLF = tt.set
		all := collect(t, open(t, cfg, nil), nil)
		if tt.want == connection.ErrUnknown {
			wantBodies(t, bodies(t, all), "a\n.b\n.\n")
			continue
		}
		wantKind(t, all[0].Err, tt.want)
	}
	// A server that ends its lines as it must is not taken to mean the end by LF "." LF.
	srv := pop3test.NewServer(t, nil)
	srv.Deliver([]byte("a\n.\nb\r\n"))
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), "a\n.\nb\r\n")
}

func TestPartialListing(t *testing.T) {
	srv := pop3test.NewServer(t, &pop3test.Options{ListLimit: 3})
	srv.Deliver(letters(10)...)
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), texts(letters(10))...)
}

func TestGoneBetweenUIDLAndRETR(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	uidls := srv.Deliver(letters(3)...)
	c := open(t, emptying(srv.Config()), nil)
	refs := collect(t, c, nil)
	all := collect(t, c, &connection.FetchOptions{Skip: func(r connection.Ref) bool {
		srv.Remove(uidls[1]) // the listing is read
		return false
	}})
	if len(all) != 3 {
		t.Fatalf("got %d items, want 2 messages and an error", len(all))
	}
	for _, f := range all {
		if f.Err != nil {
			if e := theError(t, f.Err, connection.ErrNotFound); e.Ref != refs[1].Ref {
				t.Errorf("the error is about %v, want %v", e.Ref, refs[1].Ref)
			}
		}
	}
	if err := c.Delete(t.Context(), refs[1].Ref); err != nil {
		t.Errorf("delete of what is gone: %v", err)
	}
}

func TestRefusedDelete(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	c := open(t, emptying(srv.Config()), nil)
	all := collect(t, c, nil)
	srv.Fail("DELE 2", "-ERR [SYS/PERM] read-only")
	err := c.Delete(t.Context(), all[0].Ref, all[1].Ref)
	if e := theError(t, err, connection.ErrPermission); e.Ref != all[1].Ref || e.Code != "SYS/PERM" {
		t.Errorf("got %v", e)
	}
	if left := len(srv.Messages()); left != 2 {
		t.Errorf("%d messages are left, want 2", left)
	}
}

func TestLoginReplies(t *testing.T) {
	for code, want := range map[string]connection.Kind{
		"[AUTH] no": connection.ErrAuth, "bad password": connection.ErrAuth, "[X-NEW] what": connection.ErrAuth,
		"[SYS/TEMP] later": connection.ErrUnavailable, "[SYS/PERM] never": connection.ErrPermission,
		"[IN-USE] locked": connection.ErrThrottled, "[LOGIN-DELAY] slow": connection.ErrThrottled,
	} {
		srv := pop3test.NewServer(t, &pop3test.Options{Advertise: []string{"LOGIN-DELAY 7 USER"}})
		srv.Fail("PASS", "-ERR "+code)
		cfg := srv.Config()
		cfg.AuthMechanisms = []string{"user-pass"}
		_, err := open(t, cfg, nil).Test(t.Context(), nil)
		e := theError(t, err, want)
		if after := map[connection.Kind]time.Duration{connection.ErrThrottled: 30 * time.Second}[want]; e.RetryAfter != after && e.Code != "LOGIN-DELAY" {
			t.Errorf("%s: RetryAfter %s, want %s", code, e.RetryAfter, after)
		}
		if e.Code == "LOGIN-DELAY" && e.RetryAfter != 7*time.Second {
			t.Errorf("%s: RetryAfter %s, want what CAPA told", code, e.RetryAfter)
		}
		if n := len(srv.Transcript("PASS")); n != 1 {
			t.Errorf("%s: the password was sent %d times", code, n)
		}
	}
}

// Without response codes a refusal that speaks of a lock is tried once more, and once only.
func TestLockedWithoutCodes(t *testing.T) {
	for times, want := range map[int]connection.Kind{1: connection.ErrUnknown, 9: connection.ErrAuth} {
		srv := pop3test.NewServer(t, &pop3test.Options{Without: []string{"RESP-CODES"}})
		srv.Fail("PASS", "-ERR maildrop is locked", times)
		cfg := srv.Config()
		cfg.AuthMechanisms = []string{"user-pass"}
		r, err := open(t, cfg, nil).Test(t.Context(), nil)
		if connection.KindOf(err) != want || (err == nil) != r.OK() {
			t.Errorf("refused %d times: got %v\n%s", times, err, r)
		}
		if n := len(srv.Transcript("PASS")); n != 2 {
			t.Errorf("the password was sent %d times, want 2", n)
		}
	}
}

// A server without a code for it that says it is not well does not refuse the credential: an archive must not end for good.
func TestUnwellWithoutCodes(t *testing.T) {
	for text, want := range map[string]connection.Kind{
		"Server Unavailable. 21":                            connection.ErrUnavailable, // Exchange 2010
		"Server temporarily unavailable":                    connection.ErrUnavailable,
		"Temporary authentication failure":                  connection.ErrUnavailable,
		"Logon failure: unknown user name or bad password.": connection.ErrAuth,
		"[AUTH] mailbox unavailable to this user":           connection.ErrAuth,
	} {
		srv := pop3test.NewServer(t, nil)
		srv.Fail("PASS", "-ERR "+text)
		cfg := srv.Config()
		cfg.AuthMechanisms = []string{"user-pass"}
		r, err := open(t, cfg, nil).Test(t.Context(), nil)
		if connection.KindOf(err) != want || connection.Temporary(err) != (want == connection.ErrUnavailable) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
		if blames := strings.Contains(r.String(), "username, password:"); blames != (want == connection.ErrAuth) {
			t.Errorf("%s: the password is blamed: %v\n%s", text, blames, r)
		}
		if n := len(srv.Transcript("PASS")); n != 1 {
			t.Errorf("%s: the password was sent %d times", text, n)
		}
	}
}

// Some servers offer neither USER nor a mechanism, and know USER and PASS, as every server did before there was CAPA.
func TestNoWayToLogInIsOffered(t *testing.T) {
	for name, tt := range map[string]struct {
		offer string
		plain bool
		want  connection.Kind
	}{
		"neither":          {"UIDL", true, connection.ErrUnknown},
		"SASL of nothing":  {"SASL", true, connection.ErrUnknown},
		"SASL of others":   {"SASL GSSAPI", true, connection.ErrAuth},
		"not in the clear": {"UIDL", false, connection.ErrTLS},
	} {
		srv := pop3test.NewScript(t, &pop3test.ScriptOptions{Mode: connection.ModeInsecure, Lenient: true, Patience: time.Minute}, pop3test.Script{
			pop3test.Answer("CAPA", "+OK", tt.offer, "."), pop3test.Answer("QUIT", "+OK"), pop3test.Send("+OK ready"),
			pop3test.Expect("USER"), pop3test.Send("+OK"), pop3test.Expect("PASS"), pop3test.Send("+OK"),
			pop3test.Expect("STAT"), pop3test.Send("+OK 0 0"),
		})
		cfg := srv.Config()
		cfg.AllowPlaintextAuth = tt.plain
		r, err := open(t, cfg, srv.Env()).Test(t.Context(), nil)
		if connection.KindOf(err) != tt.want {
			t.Errorf("%s: got %v, want %v\n%s", name, err, tt.want, r)
		}
		if sent := len(srv.Transcript("USER", "PASS", "AUTH")); (sent == 2) != (tt.want == connection.ErrUnknown) || sent == 1 {
			t.Errorf("%s: %d commands of a login", name, sent)
		}
	}
}

// A maildrop that another session holds is waited for.
func TestInUse(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(2)...)
	cfg := srv.Config()
	cfg.DeleteMode = pop3client.DeleteDelete
	holder := open(t, cfg, nil)
	held := collect(t, holder, nil)
	if err := holder.Delete(t.Context(), held[0].Ref); err != nil { // expunge_every 500: the session stays for a moment
		t.Fatal(err)
	}
	env, events := observed(connection.EventThrottled)
	wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), env), nil)), held[1].Raw)
	if len(events()) == 0 {
		t.Error("no event says that the maildrop was in use")
	}
}

func TestUTF8AndLang(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	raw := []byte("Subject: Gr\xc3\xbc\xc3\x9fe\r\nFrom: \xe6\x97\xa5\r\n\r\nx\r\n")
	srv.Deliver(raw)
	cfg := srv.Config()
	cfg.UTF8, cfg.Lang = true, "de"
	wantBodies(t, bodies(t, collect(t, open(t, cfg, nil), &connection.FetchOptions{Limit: 1})), string(raw))
	var names []string
	for _, c := range srv.Transcript() {
		names = append(names, c.String())
	}
	if i, j, k := slices.Index(names, "UTF8"), slices.Index(names, "LANG de"), slices.Index(names, "STAT"); i < 0 || j < 0 || i > k || j > k {
		t.Errorf("UTF8 and LANG must come before the login: %q", names)
	}
}

func TestCapabilities(t *testing.T) {
	for name, opts := range map[string]pop3test.Options{
		"no CAPA":               {Without: []string{"CAPA"}},
		"other after the login": {Without: []string{"PIPELINING"}, AdvertiseLate: []string{"PIPELINING"}},
		"no PIPELINING":         {Without: []string{"PIPELINING"}},
		"no SASL":               {Without: []string{"SASL"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewServer(t, &opts)
			srv.Deliver(letters(9)...)
			wantBodies(t, bodies(t, collect(t, open(t, srv.Config(), nil), nil)), texts(letters(9))...)
		})
	}
}

func TestHundredThousandListed(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	for i := range 100_000 {
		srv.DeliverAs(fmt.Sprintf("u%d", i), []byte("x\r\n"))
	}
	got := collect(t, open(t, srv.Config(), nil), &connection.FetchOptions{Limit: 3})
	wantBodies(t, bodies(t, got), "x\r\n", "x\r\n", "x\r\n")
}

func TestMaxMessage(t *testing.T) {
	for name, size := range map[string]func(int64) int64{"told": nil, "told too small": func(int64) int64 { return 10 }} {
		t.Run(name, func(t *testing.T) {
			srv := pop3test.NewServer(t, &pop3test.Options{Quirks: pop3test.Quirks{Size: size}})
			srv.Deliver(letters(1)[0], bytes.Repeat([]byte("0123456789abcdef\r\n"), 100_000), letters(2)[1])
			cfg := srv.Config()
			cfg.MaxMessage = 1000
			all := collect(t, open(t, cfg, nil), nil)
			if len(all) != 3 {
				t.Fatalf("got %d items, want 3", len(all))
			}
			var whole []string
			for _, f := range all {
				if f.Err == nil {
					whole = append(whole, f.Raw)
					continue
				}
				if e := theError(t, f.Err, connection.ErrTooLarge); e.Ref.IsZero() || !strings.HasPrefix(e.Hint, "max_message") {
					t.Errorf("got %v", e)
				}
			}
			wantBodies(t, whole, texts(letters(2))...)
			if name == "told" && len(srv.Transcript("RETR 2")) > 0 {
				t.Error("it was retrieved, though LIST told its size")
			}
		})
	}
}

// A message that the server says it sends, and that is empty though LIST says otherwise, is not empty but unknown.
func TestEmptyIsNotBelieved(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	srv.Fail("RETR 2", "+OK\n.")
	all := collect(t, open(t, srv.Config(), nil), nil)
	var whole []string
	for _, f := range all {
		if f.Err == nil {
			whole = append(whole, f.Raw)
			continue
		}
		wantKind(t, f.Err, connection.ErrProtocol)
	}
	wantBodies(t, whole, string(letters(3)[0]), string(letters(3)[2]))
}

func TestOpen(t *testing.T) {
	srv := pop3test.NewServer(t, nil)
	srv.Deliver(letters(3)...)
	c := open(t, emptying(srv.Config()), nil)
	all := collect(t, c, nil)
	m, err := c.Open(t.Context(), all[1].Ref)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(m.Body); err != nil || string(raw) != all[1].Raw {
		t.Errorf("got %q, %v", raw, err)
	}
	if err := m.Body.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	srv.Remove(all[2].Ref.ID)
	_, err = c.Open(t.Context(), all[2].Ref)
	wantKind(t, err, connection.ErrNotFound)
	_, err = c.Open(t.Context(), connection.Ref{Mailbox: "somebody else", ID: "x"})
	wantKind(t, err, connection.ErrInvalid)
}
