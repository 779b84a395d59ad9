package ews_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// Every server is spoken to in its own version, whatever the ceiling.
func TestVersions(t *testing.T) {
	for product, declared := range map[string]string{
		"2007_SP1": "Exchange2007_SP1", "2010": "Exchange2010", "2010_SP1": "Exchange2010_SP1", "2010_SP2": "Exchange2010_SP2",
		"2013": "Exchange2013", "2013_SP1": "Exchange2013_SP1", "2016": "Exchange2016", "2019": "Exchange2016", "SE": "Exchange2016",
	} {
		t.Run(product, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &ewstest.Options{Version: product})
			raw := letters(3)
			ids := r.alice.Deliver("Inbox", raw...)
			c := r.open(t)
			wantRefs(t, byRef(t, c, nil), ids, raw)
			special := map[string]string{}
			for f, err := range c.Folders(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				special[f.Special] = f.Name
			}
			if special[`\Trash`] != "Deleted Items" || special[`\Sent`] != "Sent Items" {
				t.Errorf("got special folders %q", special)
			}
			if err := c.Delete(t.Context(), refsOf(ids...)...); err != nil {
				t.Error(err)
			}
			all := r.Requests()
			if got := all[len(all)-1].Version; got != declared {
				t.Errorf("declared %s at last, want %s", got, declared)
			}
			steps := 0
			for _, q := range all {
				if q.Code == "ErrorInvalidServerVersion" || q.Code == "ErrorSchemaValidation" {
					steps++
				}
			}
			if steps > 7 {
				t.Errorf("%d requests were refused for their version", steps)
			}
		})
	}
}

// The ceiling is never passed, and mailboxes on older servers behind the same door get their own version.
func TestVersionCeiling(t *testing.T) {
	r := newRig(t, nil)
	r.AddMailbox(bob, ewstest.MailboxOptions{Version: "2010_SP2"}).Deliver("Inbox", letter(1))
	r.impersonating()
	r.alice.Deliver("Inbox", letter(0))
	r.cfg.Version = "2013"
	c := r.open(t)
	for range 2 {
		wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Mailbox: alice})), letter(0))
		wantBodies(t, bodies(t, collect(t, c, &connection.FetchOptions{Mailbox: bob})), letter(1))
	}
	versions := map[string]map[string]int{alice: {}, bob: {}}
	for _, q := range r.Requests() {
		if q.Mailbox != "" {
			versions[q.Mailbox][q.Version]++
		}
	}
	if len(versions[alice]) != 1 || versions[alice]["Exchange2013"] == 0 {
		t.Errorf("for alice: %v", versions[alice])
	}
	if versions[bob]["Exchange2013"] != 1 || versions[bob]["Exchange2010_SP2"] == 0 || len(versions[bob]) != 2 {
		t.Errorf("for bob: %v", versions[bob])
	}
}

// A request that no version makes good ends with what the server said first.
func TestVersionNegotiationEnds(t *testing.T) {
	r := newRig(t, nil)
	r.Fail(ewstest.On("GetFolder"), ewstest.Refuse("ErrorInvalidServerVersion", "No."))
	_, err := one(r.open(t).Fetch(t.Context(), nil))
	e := theError(t, err, connection.ErrUnsupported)
	if e.Code != "ErrorInvalidServerVersion" || e.Op != "fetch" || !strings.HasPrefix(e.Hint, "version:") {
		t.Errorf("got %v", err)
	}
	if n := r.Calls("GetFolder"); n != 8 {
		t.Errorf("asked %d times, want once in each of 8 versions", n)
	}
}

// Each class of errors is met as it should be: what may pass is asked again, what will not is said at once.
func TestErrorClasses(t *testing.T) {
	for _, test := range []struct {
		fault ewstest.Fault
		times int             // 0 = always
		kind  connection.Kind // ErrUnknown with times > 0: it passes
		code  string
		calls int // at most
	}{
		{ewstest.Refuse("ErrorMailboxStoreUnavailable", "Later."), 2, connection.ErrUnknown, "", 3},
		{ewstest.Refuse("ErrorMailboxStoreUnavailable", "Later."), 0, connection.ErrUnavailable, "ErrorMailboxStoreUnavailable", 3},
		{ewstest.Refuse("ErrorTimeoutExpired", "Slow."), 1, connection.ErrUnknown, "", 2},
		{ewstest.Refuse("ErrorTimeoutExpired", "Slow."), 0, connection.ErrTimeout, "ErrorTimeoutExpired", 3},
		{ewstest.Refuse("ErrorFromTheFuture", "What?"), 1, connection.ErrUnknown, "", 2},
		{ewstest.Refuse("ErrorFromTheFuture", "What?"), 0, connection.ErrUnknown, "ErrorFromTheFuture", 3},
		{ewstest.Refuse("ErrorAccessDenied", "No."), 0, connection.ErrPermission, "ErrorAccessDenied", 1},
		{ewstest.Refuse("ErrorNonExistentMailbox", "No."), 0, connection.ErrNotFound, "ErrorNonExistentMailbox", 1},
		{ewstest.Refuse("ErrorInternalServerError", "Oh.", "InnerErrorResponseCode", "ErrorQuotaExceeded"), 0, connection.ErrQuota, "ErrorInternalServerError", 1},
		{ewstest.Refuse("ErrorServerBusy", "Wait.", "BackOffMilliseconds", "1"), 1, connection.ErrUnknown, "", 2},
		{ewstest.Refuse("ErrorServerBusy", "Wait.", "BackOffMilliseconds", "300000"), 0, connection.ErrThrottled, "ErrorServerBusy", 1},
		{ewstest.HangUp(), 1, connection.ErrUnknown, "", 2},
		{ewstest.Garbage("<more/>"), 0, connection.ErrUnknown, "ok", 1},
		{ewstest.Page(200, "Please log in"), 0, connection.ErrProtocol, "", 1},
	} {
		r := newRig(t, nil)
		match := ewstest.On("GetFolder")
		if test.times > 0 {
			match = match.Times(test.times)
		}
		r.Fail(match, test.fault)
		r.alice.Deliver("Inbox", letter(0))
		m, err := one(r.open(t).Fetch(t.Context(), nil))
		switch {
		case test.times > 0 || test.code == "ok":
			if err != nil || m == nil {
				t.Errorf("%+v: got %v", test, err)
			}
		case err == nil || connection.KindOf(err) != test.kind:
			t.Errorf("%+v: got %v, want %v", test, err, test.kind)
		default:
			if e := theError(t, err, test.kind); e.Code != test.code || e.Op != "fetch" || e.Driver != "ews" || e.Endpoint == "" {
				t.Errorf("%+v: got %+v", test, e)
			}
		}
		if n := r.Calls("GetFolder"); n > test.calls {
			t.Errorf("%+v: asked %d times", test, n)
		}
	}
}

// ErrThrottled says for how long, instead of making a caller wait for minutes who does not follow.
func TestThrottledTellsHowLong(t *testing.T) {
	r := newRig(t, nil)
	r.Fail(ewstest.On("GetFolder"), ewstest.Busy(5*time.Minute))
	_, err := one(r.open(t).Fetch(t.Context(), nil))
	if e := theError(t, err, connection.ErrThrottled); e.RetryAfter < 4*time.Minute || !connection.Temporary(err) {
		t.Errorf("got %+v", e)
	}
}

// The settings that say in whose name a mailbox is opened, on the wire.
func TestAccess(t *testing.T) {
	for _, test := range []struct {
		access, by, mailbox string
		want, anchor        string // in the request; its X-AnchorMailbox
	}{
		{"", "", alice, "<t:PrimarySmtpAddress>alice@corp.test</t:PrimarySmtpAddress>", alice},
		{"", ews.BySMTPAny, alice, "<t:SmtpAddress>alice@corp.test</t:SmtpAddress>", alice},
		{"", ews.ByUPN, "alice@corp.local", "<t:PrincipalName>alice@corp.local</t:PrincipalName>", "alice@corp.local"},
		{"", ews.BySID, "S-1-5-21-1-2-3-1111", "<t:SID>S-1-5-21-1-2-3-1111</t:SID>", ""},
		{ews.AccessDelegate, "", alice, `<t:DistinguishedFolderId Id="inbox"><t:Mailbox><t:EmailAddress>alice@corp.test</t:EmailAddress></t:Mailbox>`, alice},
	} {
		srv := ewstest.NewServer(t, nil)
		mb := srv.AddMailbox(alice, ewstest.MailboxOptions{Password: canary, UPN: "alice@corp.local", SID: "S-1-5-21-1-2-3-1111"})
		r := (&rig{Server: srv, alice: mb, cfg: srv.Config(), env: srv.Env()}).impersonating()
		r.GrantDelegate(svc, alice)
		r.cfg.Password = connection.NewSecret(canary)
		r.cfg.Access, r.cfg.ImpersonateBy = test.access, test.by
		mb.Deliver("Inbox", letter(0))
		all := collect(t, r.open(t), &connection.FetchOptions{Mailbox: test.mailbox})
		wantBodies(t, bodies(t, all), letter(0))
		if all[0].Ref.Mailbox != test.mailbox {
			t.Errorf("got Ref %+v", all[0].Ref)
		}
		asked := r.asked("GetFolder")
		if body := string(asked[0].Body); !strings.Contains(body, test.want) || test.access == ews.AccessDelegate && strings.Contains(body, "ExchangeImpersonation") {
			t.Errorf("%+v: got %s", test, body)
		}
		if test.anchor != "" && asked[0].Anchor != test.anchor {
			t.Errorf("%+v: got X-AnchorMailbox %q", test, asked[0].Anchor)
		}
	}

	r := newRig(t, nil).impersonating()
	r.cfg.Access = ews.AccessOwn
	_, err := one(r.open(t).Fetch(t.Context(), &connection.FetchOptions{Mailbox: alice}))
	if e := theError(t, err, connection.ErrConfig); !strings.HasPrefix(e.Hint, "access:") {
		t.Errorf("got %v", e)
	}
	for _, mailbox := range []string{"nobody", "a@b@c", "a b@c", "\x00@c"} {
		_, err := one(r.open(t).Fetch(t.Context(), &connection.FetchOptions{Mailbox: mailbox}))
		wantKind(t, err, connection.ErrInvalid)
	}
}

// One mailbox that may not be opened does not keep the others back, and is told.
func TestManyMailboxes(t *testing.T) {
	r := newRig(t, nil)
	r.AddMailbox(bob, ewstest.MailboxOptions{}).Deliver("Inbox", letter(1))
	r.alice.Deliver("Inbox", letter(0))
	r.impersonating()
	r.Revoke(svc, alice)
	r.cfg.Mailboxes = []string{alice, "nobody@corp.test", bob}
	c := r.open(t)
	var failed []*connection.Error
	var got []string
	for _, f := range collect(t, c, nil) {
		if f.Err != nil {
			e := new(connection.Error)
			if !errors.As(f.Err, &e) {
				t.Fatal(f.Err)
			}
			failed = append(failed, e)
			continue
		}
		got = append(got, f.Raw)
		if f.Ref.Mailbox != bob {
			t.Errorf("got Ref %+v", f.Ref)
		}
	}
	wantBodies(t, got, letter(1))
	if len(failed) != 2 || failed[0].Kind != connection.ErrPermission || failed[0].Ref != (connection.Ref{Mailbox: alice}) ||
		!strings.Contains(failed[0].Hint, "ApplicationImpersonation") || failed[1].Kind != connection.ErrNotFound {
		t.Errorf("got %v", failed)
	}
	// Asked for by itself it is the verb's error.
	_, err := one(c.Fetch(t.Context(), &connection.FetchOptions{Mailbox: alice}))
	if e := theError(t, err, connection.ErrPermission); !e.Ref.IsZero() || !strings.Contains(e.Error(), alice) {
		t.Errorf("got %+v: %v", e.Ref, e)
	}
}

// What the settings say about requests is obeyed.
func TestBatches(t *testing.T) {
	for name, test := range map[string]struct {
		settings string
		sizes    []int // of the messages
		most     int   // items in a request with octets
		requests int
	}{
		"default":     {`{}`, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 10, 2},
		"batch_items": {`{"batch_items":3}`, []int{1, 1, 1, 1, 1, 1, 1}, 3, 3},
		"batch_bytes": {`{"batch_bytes":1048576}`, []int{400 << 10, 400 << 10, 400 << 10, 400 << 10}, 2, 2},
		"big_item":    {`{"big_item_bytes":100000}`, []int{1, 1, 150_000, 1, 150_000}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &ewstest.Options{SyncOrder: ewstest.OldestFirst})
			if err := json.Unmarshal([]byte(test.settings), &r.cfg); err != nil {
				t.Fatal(err)
			}
			r.cfg.UserAgent = "archiver/7"
			var raw [][]byte
			for i, size := range test.sizes {
				raw = append(raw, append(letter(i), large(size)...))
			}
			ids := r.alice.Deliver("Inbox", raw...)
			wantRefs(t, byRef(t, r.open(t), nil), ids, raw)
			requests := 0
			for _, q := range r.asked("GetItem") {
				if !strings.Contains(string(q.Body), "IncludeMimeContent") {
					continue
				}
				requests++
				if n := strings.Count(string(q.Body), "ItemId Id="); n > test.most {
					t.Errorf("%d items in a request", n)
				}
				if q.Header.Get("User-Agent") != "archiver/7" {
					t.Errorf("got User-Agent %q", q.Header.Get("User-Agent"))
				}
			}
			if test.requests > 0 && requests != test.requests {
				t.Errorf("got %d requests, want %d", requests, test.requests)
			}
		})
	}
}

// A batch that takes the server too long is halved, and an item that takes too long by itself is reported.
func TestBatchesAreHalved(t *testing.T) {
	r := newRig(t, nil)
	raw := letters(12)
	ids := r.alice.Deliver("Inbox", raw...)
	r.Fail(ewstest.On("GetItem").Nth(2).Times(1), ewstest.Refuse("ErrorTimeoutExpired", "Too much."))
	wantRefs(t, byRef(t, r.open(t), nil), ids, raw)
	var sizes []int
	for _, q := range r.asked("GetItem")[1:] {
		sizes = append(sizes, strings.Count(string(q.Body), "ItemId Id="))
	}
	if !slices.Equal(sizes, []int{10, 5, 5, 2}) {
		t.Errorf("got batches of %v", sizes)
	}

	r = newRig(t, nil)
	ids = r.alice.Deliver("Inbox", raw[:3]...)
	r.cfg.BatchItems = 1
	r.Fail(ewstest.On("GetItem").Nth(2).About(ids[1]), ewstest.FailItem(0, "ErrorTimeoutExpired"))
	var failed []string
	got := map[string]string{}
	for _, f := range collect(t, r.open(t), nil) {
		if f.Err != nil {
			wantKind(t, f.Err, connection.ErrTimeout)
			failed = append(failed, f.Ref.ID)
			continue
		}
		got[f.Ref.ID] = f.Raw
	}
	if !slices.Equal(failed, ids[1:2]) || len(got) != 2 {
		t.Errorf("got errors about %q and %d messages", failed, len(got))
	}
}

// One item at which the server hangs up does not keep the others back.
func TestPoisonItem(t *testing.T) {
	r := newRig(t, nil)
	raw := letters(5)
	ids := r.alice.Deliver("Inbox", raw...)
	r.Fail(ewstest.On("GetItem").Nth(2).About(ids[2]), ewstest.HangUp())
	var failed []string
	got := map[string]string{}
	for _, f := range collect(t, r.open(t), nil) {
		if f.Err != nil {
			wantKind(t, f.Err, connection.ErrNetwork)
			failed = append(failed, f.Ref.ID)
			continue
		}
		got[f.Ref.ID] = f.Raw
	}
	if !slices.Equal(failed, ids[2:3]) || len(got) != 4 {
		t.Errorf("got errors about %q and %d messages", failed, len(got))
	}
}
