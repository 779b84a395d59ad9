package ewstest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

func TestBackOffIsProlongedByThoseWhoDoNotWait(t *testing.T) {
	clock := newClock()
	srv, _ := server(t, &ewstest.Options{Clock: clock})
	srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: "b"})
	srv.Fail(ewstest.On("GetFolder").User(aliceAddress).Times(1), ewstest.Busy(10*time.Second))
	c, other := alice(t, srv), newBareClient(t, srv)
	other.auth = basic("bob@corp.test", "b")
	busy := func(want bool) {
		t.Helper()
		r := c.call(getInbox)
		if got := strings.Contains(r.body, "ErrorServerBusy") && r.status == http.StatusInternalServerError; got != want {
			t.Errorf("got status %d: %s", r.status, r.body)
		}
	}
	busy(true)
	if got := srv.Penalty(); got != 0 {
		t.Errorf("penalty %d before anybody did wrong", got)
	}
	clock.advance(9 * time.Second)
	busy(true) // too early: ten seconds anew
	other.must(getInbox)
	clock.advance(9 * time.Second)
	busy(true)
	if got := srv.Penalty(); got != 2 {
		t.Errorf("got penalty %d, want 2", got)
	}
	clock.advance(10 * time.Second)
	busy(false)
}

func TestConcurrencyIsLimited(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Throttle: ewstest.Throttle{Concurrency: 2, BackOff: time.Millisecond}})
	srv.AddAccount("svc@corp.test", ewstest.AccountOptions{Password: "s"})
	srv.AddMailbox("bob@corp.test", ewstest.MailboxOptions{Password: "b"})
	srv.GrantImpersonation("svc@corp.test", aliceAddress)
	srv.GrantImpersonation("svc@corp.test", "bob@corp.test")
	inbox := getInbox[strings.Index(getInbox, "<m:"):strings.Index(getInbox, "</s:Body>")]
	service := func() *bareClient {
		c := newBareClient(t, srv)
		c.auth = basic("svc@corp.test", "s")
		return c
	}
	srv.Fail(ewstest.On("GetFolder").Mailbox(aliceAddress).Times(2), ewstest.StallAfter(100))
	ended := make(chan result, 2)
	stalled := []*bareClient{service(), service()}
	for _, c := range stalled {
		go func() { ended <- c.call(envelope(aliceAddress, inbox)) }()
	}
	wait(t, func() bool { return srv.Peak(aliceAddress) == 2 })
	if r := service().call(envelope(aliceAddress, inbox)); r.status != http.StatusInternalServerError || !strings.Contains(r.body, `BackOffMilliseconds">1<`) {
		t.Errorf("the third: got status %d: %s", r.status, r.body)
	}
	service().must(envelope("bob@corp.test", inbox)) // a budget of its own
	srv.DropConnections()
	for range stalled {
		if r := <-ended; r.err == nil {
			t.Errorf("got status %d", r.status)
		}
	}
	wait(t, func() bool { return service().call(envelope(aliceAddress, inbox)).status == http.StatusOK })
	if got := srv.Peak("bob@corp.test"); got != 1 {
		t.Errorf("bob's peak is %d", got)
	}
}

func TestConcurrencyWithoutATime(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Throttle: ewstest.Throttle{Concurrency: 1}})
	srv.Fail(ewstest.On("GetFolder").Times(1), ewstest.StallAfter(100))
	first, second := alice(t, srv), alice(t, srv)
	ended := make(chan result, 1)
	go func() { ended <- first.call(getInbox) }()
	wait(t, func() bool { return srv.Peak(aliceAddress) == 1 })
	if r := second.call(getInbox); r.status != http.StatusInternalServerError || !strings.Contains(r.body, `Name="MaxConcurrencyLimit">1<`) || strings.Contains(r.body, "BackOffMilliseconds") {
		t.Errorf("got status %d: %s", r.status, r.body)
	}
	srv.DropConnections()
	<-ended
}

// A client that does not read is cut off, and its budget is free again.
func TestImpatience(t *testing.T) {
	srv, mb := server(t, &ewstest.Options{Throttle: ewstest.Throttle{Patience: 50 * time.Millisecond, Concurrency: 1}})
	id := mb.Folder("Inbox").DeliverItems(ewstest.Message{Body: ewstest.Synthetic{Octets: 64 << 20}})[0]
	c := alice(t, srv)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, serverURL, strings.NewReader(getItems(id)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	req.Header.Set("Authorization", c.auth)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return srv.Requests()[0].Uncommitted })
	wait(t, func() bool { return alice(t, srv).call(getInbox).status == http.StatusOK })
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}
