package gmailtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const profilePath = "/gmail/v1/users/me/profile"

// profile asks for a profile with a client of its own, and returns what became of it.
func profile(ctx context.Context, srv *gmailtest.Server, tr http.RoundTripper, token string) (status int, header http.Header, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL()+profilePath, nil)
	if err != nil {
		return 0, nil, "", err
	}
	resp, err := bearer{token, tr}.RoundTrip(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it goes
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, resp.Header, string(b), err
}

func protocols() []gmailtest.Protocol {
	return []gmailtest.Protocol{gmailtest.Plain, gmailtest.TLS, gmailtest.HTTP2}
}

// A fault befalls what it is meant for, as often as it was meant to.
func TestMatches(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	ann, bob := srv.AddUser(gmailtest.User{Email: "ann@corp.example"}), srv.AddUser(gmailtest.User{Email: "bob@corp.example"})
	unavailable := gmailtest.Status(503, "busy")
	calls := func(user string, n int) (statuses []int) {
		t.Helper()
		tr, token := transport(t, srv), srv.Token(user)
		for range n {
			status, _, _, err := profile(t.Context(), srv, tr, token)
			if err != nil {
				t.Fatal(err)
			}
			statuses = append(statuses, status)
		}
		return statuses
	}
	for name, c := range map[string]struct {
		match    gmailtest.Match
		ann, bob [4]int // statuses of four calls each, ann's first
	}{
		"all":            {gmailtest.On("*"), [4]int{503, 503, 503, 503}, [4]int{503, 503, 503, 503}},
		"method":         {gmailtest.On("getProfile"), [4]int{503, 503, 503, 503}, [4]int{503, 503, 503, 503}},
		"another method": {gmailtest.On("messages.*"), [4]int{200, 200, 200, 200}, [4]int{200, 200, 200, 200}},
		"user":           {gmailtest.On("getProfile").User("Bob@corp.example"), [4]int{200, 200, 200, 200}, [4]int{503, 503, 503, 503}},
		"user id":        {gmailtest.On("").User(ann), [4]int{503, 503, 503, 503}, [4]int{200, 200, 200, 200}},
		"nth":            {gmailtest.On("").User(bob).Nth(3), [4]int{200, 200, 200, 200}, [4]int{200, 200, 503, 503}},
		"times":          {gmailtest.On("").Nth(2).Times(2), [4]int{200, 503, 503, 200}, [4]int{200, 200, 200, 200}},
		"scope":          {gmailtest.On("").Scope("https://mail.google.com/").Times(1), [4]int{503, 200, 200, 200}, [4]int{200, 200, 200, 200}},
		"another scope":  {gmailtest.On("").Scope(readonly), [4]int{200, 200, 200, 200}, [4]int{200, 200, 200, 200}},
		"id":             {gmailtest.On("").ID("18c0"), [4]int{200, 200, 200, 200}, [4]int{200, 200, 200, 200}},
	} {
		srv.Fail(c.match, unavailable)
		if got := calls(ann, 4); [4]int(got) != c.ann {
			t.Errorf("%s: got %v for ann, want %v", name, got, c.ann)
		}
		if got := calls(bob, 4); [4]int(got) != c.bob {
			t.Errorf("%s: got %v for bob, want %v", name, got, c.bob)
		}
		srv.Heal()
	}
}

func TestChance(t *testing.T) {
	failures := func(seed uint64) string {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Seed: seed})
		srv.Fail(gmailtest.On("").Chance(0.5), gmailtest.Status(500, ""))
		tr, token, got := transport(t, srv), srv.Token("ann@corp.example"), ""
		for range 40 {
			status, _, _, err := profile(t.Context(), srv, tr, token)
			if err != nil {
				t.Fatal(err)
			}
			got += map[bool]string{true: "x", false: "."}[status == 500]
		}
		return got
	}
	one := failures(1)
	if again := failures(1); one != again {
		t.Errorf("the same seed: %s and %s", one, again)
	}
	if n := strings.Count(one, "x"); n == 0 || n == 40 {
		t.Errorf("got %s", one)
	}
}

// Connections that end early end early, over every protocol, and the next request finds the server well.
func TestBrokenAnswers(t *testing.T) {
	for _, protocol := range protocols() {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Protocol: protocol})
		token := srv.Token("ann@corp.example")
		_, _, whole, err := profile(t.Context(), srv, transport(t, srv), token)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			fault gmailtest.Fault
			body  string
			fails bool
		}{
			"cut":        {gmailtest.Cut(10), whole[:10], true},
			"cut at 0":   {gmailtest.Cut(0), "", true},
			"not so far": {gmailtest.Cut(int64(len(whole))), whole, false},
			"short":      {gmailtest.Short(10), whole[:10], false},
			"hang up":    {gmailtest.HangUp(), "", true},
			"lose":       {gmailtest.Lose(), "", true},
		} {
			srv.ResetLog()
			srv.Fail(gmailtest.On("getProfile").Times(1), c.fault)
			tr := transport(t, srv)
			_, _, body, err := profile(t.Context(), srv, tr, token)
			if body != c.body || (err != nil) != c.fails {
				t.Errorf("%s, %s: got %q, %v", protocol, name, body, err)
			}
			if _, _, body, err := profile(t.Context(), srv, tr, token); err != nil || body != whole {
				t.Errorf("%s, %s: the next one got %q, %v", protocol, name, body, err)
			}
			srv.Heal()
		}
	}
}

// Silence lasts until the client goes, and Close ends it too.
func TestSilence(t *testing.T) {
	for _, protocol := range protocols() {
		for name, fault := range map[string]gmailtest.Fault{"at once": gmailtest.Stall(), "in the body": gmailtest.StallAfter(5), "delay": gmailtest.Delay(time.Hour)} {
			srv := gmailtest.NewServer(t, &gmailtest.Options{Protocol: protocol})
			token := srv.Token("ann@corp.example")
			reached := make(chan struct{}, 2)
			srv.Fail(gmailtest.On("getProfile"), fault, gmailtest.Do(func(r gmailtest.Request) {
				if r.User == "ann@corp.example" {
					reached <- struct{}{}
				}
			}))
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, _, _, err := profile(ctx, srv, transport(t, srv), token)
				failed <- err
			}()
			<-reached
			select {
			case err := <-failed:
				t.Fatalf("%s, %s: it ended by itself: %v", protocol, name, err)
			default:
			}
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("%s, %s: got %v", protocol, name, err)
			}
			go func() {
				_, _, _, err := profile(context.WithoutCancel(ctx), srv, transport(t, srv), token)
				failed <- err
			}()
			<-reached
			srv.Close()
			if err := <-failed; err == nil {
				t.Errorf("%s, %s: an answer after Close", protocol, name)
			}
		}
	}
}

// The server says GOAWAY to those who are told that the connection closes.
func TestGoAway(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Protocol: gmailtest.HTTP2})
	tr, token := transport(t, srv), srv.Token("ann@corp.example")
	get := func() {
		t.Helper()
		if status, _, _, err := profile(t.Context(), srv, tr, token); err != nil || status != 200 {
			t.Fatalf("got %d, %v", status, err)
		}
	}
	get()
	get()
	if n := srv.Connections(); n != 1 {
		t.Fatalf("got %d connections, want 1", n)
	}
	srv.Fail(gmailtest.On("").Times(1), gmailtest.Header("Connection", "close"))
	get()
	deadline := time.Now().Add(30 * time.Second)
	for srv.Connections() == 1 && time.Now().Before(deadline) {
		get()
	}
	if n := srv.Connections(); n != 2 {
		t.Errorf("got %d connections, want 2", n)
	}
	srv.DropConnections()
	if _, _, _, err := profile(t.Context(), srv, transport(t, srv), token); err != nil {
		t.Error(err)
	}
}

// A frozen connection says nothing and takes everything; a new one works.
func TestFreeze(t *testing.T) {
	for _, protocol := range protocols() {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Protocol: protocol})
		tr, token := transport(t, srv), srv.Token("ann@corp.example")
		if _, _, _, err := profile(t.Context(), srv, tr, token); err != nil {
			t.Fatal(err)
		}
		srv.Freeze()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, _, err := profile(ctx, srv, tr, token)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", protocol, err)
		}
		if n := srv.Calls("getProfile"); n != 1 {
			t.Errorf("%s: %d requests arrived", protocol, n)
		}
		if _, _, _, err := profile(t.Context(), srv, transport(t, srv), token); err != nil {
			t.Errorf("%s: on a new connection: %v", protocol, err)
		}
	}
}

// What is done between two calls of a client is seen by the second.
func TestDo(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	svc := gmail(t, srv, srv.Token("ann@corp.example"))
	srv.Fail(gmailtest.On("getProfile").Nth(2).Times(1), gmailtest.Do(func(r gmailtest.Request) { srv.RenameUser(r.UserID, "anna@corp.example") }))
	var got []string
	for range 2 {
		p, err := svc.Users.GetProfile("me").Do()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.EmailAddress)
	}
	if got[0] != "ann@corp.example" || got[1] != "anna@corp.example" {
		t.Errorf("got %q", got)
	}
	srv.Fail(gmailtest.On("getProfile"), gmailtest.Do(func(r gmailtest.Request) { srv.RevokeTokens(r.User) }))
	_, err := svc.Users.GetProfile("me").Do()
	refusal(t, err, 401, "authError")
}

// A mailbox that is off, suspended or foreign is refused as Google refuses it.
func TestMailboxesThatAreOff(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	ann := srv.AddUser(gmailtest.User{Email: "ann@corp.example", Aliases: []string{"a@corp.example"}})
	svc := gmail(t, srv, srv.Token("ann@corp.example"))
	ids := srv.Deliver("ann@corp.example", []byte("Subject: x\r\n\r\n\r\n"))
	for _, me := range []string{"me", "ann@corp.example", "A@corp.example", ann} {
		if _, err := svc.Users.GetProfile(me).Do(); err != nil {
			t.Errorf("%s: %v", me, err)
		}
	}
	_, err := svc.Users.GetProfile("bob@corp.example").Do()
	if e := refusal(t, err, 403, "forbidden"); e.Message != "Delegation denied for ann@corp.example" {
		t.Errorf("got %q", e.Message)
	}
	srv.Suspend(ann, true)
	if _, err := svc.Users.Messages.List("me").Do(); err != nil {
		t.Errorf("a list of a suspended user: %v", err)
	}
	_, err = svc.Users.Messages.Get("me", ids[0]).Do()
	refusal(t, err, 403, "forbidden")
	srv.Suspend(ann, false)
	if _, err := svc.Users.Messages.Get("me", ids[0]).Do(); err != nil {
		t.Error(err)
	}
	srv.Disable(ann)
	_, err = svc.Users.Messages.List("me").Do()
	if e := refusal(t, err, 400, "failedPrecondition"); e.Message != "Mail service not enabled" {
		t.Errorf("got %q", e.Message)
	}
	srv.Enable(ann)
	if _, err := svc.Users.Messages.List("me").Do(); err != nil {
		t.Error(err)
	}
	_, err = gmail(t, srv, srv.Token("admin@corp.example")).Users.GetProfile("me").Do()
	refusal(t, err, 400, "failedPrecondition")
	srv = gmailtest.NewServer(t, &gmailtest.Options{ForeignNotFound: true, Without: []string{"getProfile", "batch"}})
	svc = gmail(t, srv, srv.Token("ann@corp.example"))
	_, err = svc.Users.Messages.List("bob@corp.example").Do()
	refusal(t, err, 404, "notFound")
	if status, header, _, err := profile(t.Context(), srv, transport(t, srv), srv.Token("ann@corp.example")); err != nil || status != 404 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Errorf("without getProfile: %d, %v", status, err)
	}
	if _, err := gmailtest.Listen(&gmailtest.Options{Without: []string{"profile"}}); err == nil {
		t.Error("a server without something that nobody knows")
	}
}
