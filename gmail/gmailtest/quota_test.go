package gmailtest_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	"google.golang.org/api/googleapi"
)

// noon is in California, where days of quotas begin.
func noon() time.Time { return time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC) }

// spend calls a method of one unit so often, and returns how many calls were taken and the last refusal.
func spend(t *testing.T, srv *gmailtest.Server, token, quotaUser string, n int) (taken int, refused error) {
	t.Helper()
	svc := gmail(t, srv, token)
	for range n {
		if _, err := svc.Users.GetProfile("me").Do(googleapi.QuotaUser(quotaUser)); err != nil {
			refused = err
		} else {
			taken++
		}
	}
	return taken, refused
}

func TestUnits(t *testing.T) {
	for legacy, price := range map[bool]int64{false: 20, true: 5} {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Quota: gmailtest.Quota{Legacy: legacy}})
		srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
		ids := srv.Deliver("ann@corp.example", []byte("Subject: x\r\n\r\n\r\n"))
		svc := gmail(t, srv, srv.Token("ann@corp.example"))
		if _, err := svc.Users.Messages.List("me").Do(); err != nil {
			t.Fatal(err)
		}
		if _, err := svc.Users.Messages.Get("me", ids[0]).Do(); err != nil {
			t.Fatal(err)
		}
		if _, err := svc.Users.Messages.Get("me", "none").Do(); err == nil {
			t.Error("got a message that is not there")
		}
		if got, want := srv.Units("ann@corp.example"), 5+2*price; got != want || srv.Units("") != want || srv.MostUnits("", time.Hour) != want {
			t.Errorf("legacy %v: got %d units, %d within an hour, want %d", legacy, got, srv.MostUnits("", time.Hour), want)
		}
		if got := srv.MostUnits("ann@corp.example", time.Nanosecond); got != price {
			t.Errorf("legacy %v: got %d units at once", legacy, got)
		}
		if n := srv.Calls("messages.get", "ann@corp.example"); n != 2 {
			t.Errorf("got %d calls, want 2", n)
		}
		if by := srv.UnitsByUser(); len(by) != 1 {
			t.Errorf("got %v", by)
		}
		srv.ResetLog()
		if got := srv.Units("") + srv.Units("ann@corp.example") + int64(len(srv.Requests())); got != 0 {
			t.Errorf("something is left: %d", got)
		}
	}
}

func TestUserLimit(t *testing.T) {
	for refusalForm, want := range map[gmailtest.Refusal]struct {
		status       int
		reason, text string
	}{
		gmailtest.RefuseUser:   {403, "userRateLimitExceeded", "User Rate Limit Exceeded"},
		gmailtest.RefuseMetric: {403, "rateLimitExceeded", "and limit 'Queries per minute per user' of service"},
		gmailtest.RefuseUntil:  {429, "rateLimitExceeded", "  Retry after 2026-11-23T20:01:00.000Z"},
		gmailtest.RefuseHeader: {429, "rateLimitExceeded", "Resource has been exhausted"},
	} {
		clock := gmailtest.NewClock(noon())
		srv := gmailtest.NewServer(t, &gmailtest.Options{Clock: clock, Quota: gmailtest.Quota{PerUser: 10, Refusal: refusalForm}})
		ann, bob := srv.Token("ann@corp.example"), srv.Token("bob@corp.example")
		taken, err := spend(t, srv, ann, "ann", 12)
		if taken != 10 {
			t.Fatalf("%s: %d requests were taken", refusalForm, taken)
		}
		e := refusal(t, err, want.status, want.reason)
		if !strings.Contains(e.Message, want.text) {
			t.Errorf("%s: got %q", refusalForm, e.Message)
		}
		if got := e.Header.Get("Retry-After"); (got == "60") != (refusalForm == gmailtest.RefuseHeader) {
			t.Errorf("%s: got Retry-After %q", refusalForm, got)
		}
		if taken, _ := spend(t, srv, bob, "bob", 3); taken != 3 {
			t.Errorf("%s: the other user had %d of 3", refusalForm, taken)
		}
		if n := srv.Refusals(); n != 2 {
			t.Errorf("got %d refusals, want 2", n)
		}
		clock.Advance(59 * time.Second)
		if taken, _ := spend(t, srv, ann, "ann", 1); taken != 0 {
			t.Errorf("%s: the window is shorter than a minute", refusalForm)
		}
		clock.Advance(time.Second)
		if taken, _ := spend(t, srv, ann, "ann", 11); taken != 10 {
			t.Errorf("%s: %d after a minute", refusalForm, taken)
		}
		if got := srv.Units("ann@corp.example"); got != 20 {
			t.Errorf("got %d units, want 20: a refusal costs nothing", got)
		}
	}
}

// Whom units are charged to depends on how the token was got, and on quotaUser.
func TestPayer(t *testing.T) {
	for name, c := range map[string]struct {
		ignore         bool
		ann, bob       string // quotaUser
		annHas, bobHas int
	}{
		"with quotaUser":      {false, "1", "2", 10, 10},
		"without":             {false, "", "", 10, 0},
		"the same":            {false, "1", "1", 10, 0},
		"where it is ignored": {true, "1", "2", 10, 0},
	} {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Quota: gmailtest.Quota{PerUser: 10, IgnoreQuotaUser: c.ignore}})
		f := readKeyFile(t, srv.ServiceAccountJSON())
		token := func(email string) string {
			srv.AddUser(gmailtest.User{Email: email})
			return byAssertion(t, srv, f.assertion(t, time.Now(), map[string]any{"sub": email})).Token
		}
		if got, _ := spend(t, srv, token("ann@corp.example"), c.ann, 12); got != c.annHas {
			t.Errorf("%s: ann had %d, want %d", name, got, c.annHas)
		}
		if got, _ := spend(t, srv, token("bob@corp.example"), c.bob, 12); got != c.bobHas {
			t.Errorf("%s: bob had %d, want %d", name, got, c.bobHas)
		}
	}
}

func TestProjectAndDay(t *testing.T) {
	clock := gmailtest.NewClock(noon())
	srv := gmailtest.NewServer(t, &gmailtest.Options{Clock: clock, Quota: gmailtest.Quota{Project: 10, Daily: 25}})
	ann, bob := srv.Token("ann@corp.example"), srv.Token("bob@corp.example")
	if taken, _ := spend(t, srv, ann, "", 6); taken != 6 {
		t.Errorf("ann had %d", taken)
	}
	taken, err := spend(t, srv, bob, "", 6)
	if taken != 4 {
		t.Errorf("bob had %d", taken)
	}
	if e := refusal(t, err, 403, "rateLimitExceeded"); strings.Contains(e.Message, "per user") || !strings.Contains(e.Message, "'Queries per minute'") {
		t.Errorf("got %q", e.Message)
	}
	clock.Advance(time.Minute)
	if taken, _ := spend(t, srv, ann, "", 10); taken != 10 {
		t.Errorf("ann had %d", taken)
	}
	clock.Advance(time.Minute)
	taken, err = spend(t, srv, ann, "", 10)
	if taken != 5 {
		t.Errorf("ann had %d", taken)
	}
	refusal(t, err, 403, "dailyLimitExceeded")
	clock.Advance(11*time.Hour + 57*time.Minute)
	if taken, _ := spend(t, srv, ann, "", 1); taken != 0 {
		t.Error("the day ended before midnight in California")
	}
	clock.Advance(2 * time.Minute)
	if taken, _ := spend(t, srv, ann, "", 1); taken != 1 {
		t.Error("the day has not ended")
	}
}

// Quotas change under a program that runs.
func TestSetQuota(t *testing.T) {
	clock := gmailtest.NewClock(noon())
	srv := gmailtest.NewServer(t, &gmailtest.Options{Clock: clock, Quota: gmailtest.Quota{PerUser: 10}})
	token := srv.Token("ann@corp.example")
	for _, c := range []struct {
		limit int64
		taken int
	}{{10, 10}, {15, 5}, {5, 0}, {0, 20}} {
		srv.SetQuota(gmailtest.Quota{PerUser: c.limit})
		if got, _ := spend(t, srv, token, "", 20); got != c.taken {
			t.Errorf("with a limit of %d: %d were taken, want %d", c.limit, got, c.taken)
		}
	}
}

func TestConcurrency(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{Quota: gmailtest.Quota{Concurrent: 2}})
	token := srv.Token("ann@corp.example")
	arrived, release := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	srv.Fail(gmailtest.On("getProfile").Times(2), gmailtest.Rewrite(func(b []byte) []byte {
		arrived <- struct{}{}
		<-release
		return b
	}))
	for range 2 {
		held.Go(func() {
			if status, _, _, err := profile(t.Context(), srv, transport(t, srv), token); err != nil || status != http.StatusOK {
				t.Errorf("got %d, %v", status, err)
			}
		})
		<-arrived
	}
	_, err := gmail(t, srv, token).Users.GetProfile("me").Do()
	if e := refusal(t, err, 429, "rateLimitExceeded"); e.Message != "Too many concurrent requests for user." {
		t.Errorf("got %q", e.Message)
	}
	if taken, _ := spend(t, srv, srv.Token("bob@corp.example"), "", 1); taken != 1 {
		t.Error("the other user had to wait")
	}
	close(release)
	held.Wait()
	if taken, err := spend(t, srv, token, "", 1); taken != 1 {
		t.Error(err)
	}
	if got := srv.Peak("ann@corp.example"); got != 2 {
		t.Errorf("got a peak of %d, want 2", got)
	}
}

// In a bubble the server's time is the bubble's, and connections need no sockets.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := gmailtest.NewServer(t, &gmailtest.Options{Memory: true, Quota: gmailtest.Quota{PerUser: 10}})
		token := srv.Token("ann@corp.example")
		if taken, _ := spend(t, srv, token, "", 12); taken != 10 {
			t.Errorf("got %d", taken)
		}
		srv.Fail(gmailtest.On("").Times(1), gmailtest.Delay(time.Minute))
		began := time.Now()
		if taken, _ := spend(t, srv, token, "", 12); taken != 10 || time.Since(began) != time.Minute {
			t.Errorf("got %d after %s", taken, time.Since(began))
		}
	})
}
