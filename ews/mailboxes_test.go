package ews_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/ews/ewstest"
)

// listed runs Mailboxes to its end and returns the names, in order.
func listed(t *testing.T, c connection.MailboxLister, opts *connection.MailboxOptions) ([]string, error) {
	t.Helper()
	var names []string
	var last error
	for m, err := range c.Mailboxes(t.Context(), opts) {
		switch {
		case last != nil:
			t.Errorf("after the error %v came %v, %v", last, m, err)
		case err != nil:
			last = err
		case slices.Contains(names, m.Name):
			t.Errorf("%s was listed twice", m.Name)
		default:
			names = append(names, m.Name)
		}
	}
	return names, last
}

// wantListed compares the names regardless of their order.
func wantListed(t *testing.T, c connection.MailboxLister, want ...string) {
	t.Helper()
	got, err := listed(t, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

// skips makes r collect what is left out: mailboxes with the reasons.
func (r *rig) skips() func() map[string]connection.Event {
	var mu sync.Mutex
	all := make(map[string]connection.Event)
	r.env.Observe = func(ev connection.Event) {
		mu.Lock()
		defer mu.Unlock()
		if ev.Kind == connection.EventSkipped {
			all[ev.Mailbox] = ev
		}
	}
	return func() map[string]connection.Event {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestMailboxesOfTheSettings(t *testing.T) {
	r := newRig(t, nil)
	r.cfg.Access = ews.AccessOwn
	wantListed(t, r.open(t), alice)
	r.cfg.Access, r.cfg.Mailboxes = "", []string{bob, alice}
	if got, err := listed(t, r.open(t), nil); err != nil || !slices.Equal(got, []string{bob, alice}) {
		t.Errorf("listed %q, %v", got, err)
	}
	if got, err := listed(t, r.open(t), &connection.MailboxOptions{Match: "a*@corp.test"}); err != nil || !slices.Equal(got, []string{alice}) {
		t.Errorf("matching: %q, %v", got, err)
	}
	if _, err := listed(t, r.open(t), &connection.MailboxOptions{Match: "["}); !errors.Is(err, connection.ErrInvalid) {
		t.Errorf("a bad pattern: %v", err)
	}
	for m, err := range r.open(t).Mailboxes(t.Context(), nil) {
		if err != nil || m.Name != bob {
			t.Errorf("%v, %v", m, err)
		}
		break
	}
	all := r.open(t).Mailboxes(t.Context(), nil)
	for _, err := range all {
		if err != nil {
			t.Error(err)
		}
		break
	}
	for _, err := range all {
		wantKind(t, err, connection.ErrInvalid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range r.open(t).Mailboxes(ctx, nil) {
		wantKind(t, err, connection.ErrCanceled)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for m, err := range r.open(t).Mailboxes(ctx, nil) {
		if n++; n == 1 && (err != nil || m.Name != bob) || n > 1 && !errors.Is(err, context.Canceled) || n > 2 {
			t.Errorf("step %d after the context ended: %v, %v", n, m, err)
		}
		cancel()
	}
	if len(r.Requests()) != 0 {
		t.Errorf("%d requests for what the settings say", len(r.Requests()))
	}
}

// people adds n mailboxes to r and returns their names.
func (r *rig) people(n int) []string {
	var names []string
	for i := range n {
		name := fmt.Sprintf("u%03d@corp.test", i)
		r.AddMailbox(name, ewstest.MailboxOptions{Password: canary})
		names = append(names, name)
	}
	return names
}

func TestMailboxesOfGroups(t *testing.T) {
	r := newRig(t, nil).impersonating()
	names := r.people(5)
	r.AddGroup(ewstest.Group{Address: "all@corp.test", Members: []string{names[0], "sales@corp.test", names[1]}})
	r.AddGroup(ewstest.Group{Address: "sales@corp.test", Members: []string{names[2], "sales-north@corp.test", names[0]}})
	r.AddGroup(ewstest.Group{Address: "sales-north@corp.test", Members: []string{names[3]}})
	r.cfg.Mailboxes, r.cfg.Groups = []string{alice, names[0]}, []string{"all@corp.test"}
	wantListed(t, r.open(t), append([]string{alice}, names[:4]...)...)
}

// TestE32Groups has lists that contain each other and themselves, one that hides its members, and members that are no mailboxes.
func TestE32Groups(t *testing.T) {
	r := newRig(t, nil).impersonating()
	skipped := r.skips()
	r.AddGroup(ewstest.Group{Address: "a@corp.test", Members: []string{"b@corp.test", "a@corp.test", alice}})
	r.AddGroup(ewstest.Group{Address: "b@corp.test", Members: []string{"A@corp.test", "secret@corp.test", "someone@elsewhere.test"}})
	r.AddGroup(ewstest.Group{Address: "secret@corp.test", Hidden: true, Members: []string{bob}})
	r.cfg.Groups = []string{"a@corp.test"}
	wantListed(t, r.open(t), alice)
	if n := r.Calls("ExpandDL"); n != 3 {
		t.Errorf("%d calls of ExpandDL for three groups", n)
	}
	for _, name := range []string{"secret@corp.test", "someone@elsewhere.test"} {
		if ev, ok := skipped()[name]; !ok || ev.Detail == "" || ev.Connection != "ews" {
			t.Errorf("%s: %+v, want it told as skipped", name, ev)
		}
	}
	// A group that the settings name and that is not there is an error that names it.
	r.cfg.Groups = []string{"a@corp.test", "nothere@corp.test"}
	_, err := listed(t, r.open(t), nil)
	var e *connection.Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "nothere@corp.test") {
		t.Errorf("a group that is not there: %v", err)
	}
}

// TestMailboxesOfTheServer lists them in each of the three ways, with the better ones switched off.
func TestMailboxesOfTheServer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		opts    ewstest.Options
		grant   bool
		people  int
		used    string
		unasked string
	}{
		{name: "searchable", people: 1203, grant: true, used: "GetSearchableMailboxes", unasked: "FindPeople"},
		{name: "people, for lack of the role", people: 1203, used: "FindPeople", unasked: "ResolveNames"},
		{name: "people, for lack of the operation", people: 3, opts: ewstest.Options{Without: []string{"GetSearchableMailboxes"}}, grant: true, used: "FindPeople", unasked: "ResolveNames"},
		{name: "names", people: 105, opts: ewstest.Options{Without: []string{"GetSearchableMailboxes", "FindPeople"}}, used: "ResolveNames"},
		{name: "names of an old server", people: 105, opts: ewstest.Options{Version: "2010_SP2"}, used: "ResolveNames", unasked: "FindPeople"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, &tt.opts).impersonating()
			names := r.people(tt.people)
			if tt.grant {
				r.GrantDiscovery(svc)
			}
			wantListed(t, r.open(t), append(names, alice)...)
			if r.Calls(tt.used) == 0 {
				t.Errorf("%s was not used", tt.used)
			}
			if tt.unasked != "" && r.Calls(tt.unasked) != 0 {
				t.Errorf("%s was asked too", tt.unasked)
			}
			if n := r.Calls("FindPeople"); tt.people > 1000 && n != 0 && n != 3 {
				t.Errorf("%d pages of people, want 3", n)
			}
			if n := len(r.Requests()); n > 1000 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestMailboxesOfAServerThatDoesNotCount ends with the first page that brings nothing new.
func TestMailboxesOfAServerThatDoesNotCount(t *testing.T) {
	r := newRig(t, nil).impersonating()
	total := regexp.MustCompile(`<[a-z:]*TotalNumberOfPeopleInView>[0-9]+</[a-z:]*TotalNumberOfPeopleInView>`)
	r.Fail(ewstest.On("FindPeople"), ewstest.Rewrite(func(body []byte) []byte { return total.ReplaceAll(body, nil) }))
	wantListed(t, r.open(t), append(r.people(7), alice)...)
	if n := r.Calls("FindPeople"); n != 2 {
		t.Errorf("%d pages, want 2", n)
	}
}

// TestMailboxesAreLocatedTogether asks autodiscover about many mailboxes at once when they are listed.
func TestMailboxesAreLocatedTogether(t *testing.T) {
	r := newRig(t, nil).discovering()
	r.cfg.TestMailbox = ""
	names := append(r.people(120), alice)
	r.GrantImpersonation(svc)
	r.GrantDiscovery(svc)
	c := r.open(t)
	wantListed(t, c, slices.Clone(names)...)
	asked := r.Calls("GetUserSettings")
	if asked > 10 {
		t.Errorf("autodiscover was asked %d times about %d mailboxes", asked, len(names))
	}
	for _, name := range names[:5] {
		for _, err := range c.Folders(t.Context(), name) {
			if err != nil {
				t.Error(err)
			}
		}
	}
	if n := r.Calls("GetUserSettings"); n != asked {
		t.Errorf("autodiscover was asked %d times more", n-asked)
	}
}

func TestMailboxesThatNobodyTells(t *testing.T) {
	r := newRig(t, &ewstest.Options{Without: []string{"GetSearchableMailboxes", "FindPeople", "ResolveNames"}}).impersonating()
	_, err := listed(t, r.open(t), nil)
	e := theError(t, err, connection.ErrUnsupported)
	if !strings.Contains(e.Hint, "mailboxes") || !strings.Contains(e.Error(), "FindPeople") {
		t.Error(e)
	}
	// What says nothing of the way is no reason to take another.
	r = newRig(t, nil).impersonating()
	r.Fail(ewstest.On("GetSearchableMailboxes"), ewstest.Refuse("ErrorMailboxStoreUnavailable", "The store is not there. Try again later."))
	_, err = listed(t, r.open(t), nil)
	wantKind(t, err, connection.ErrUnavailable)
	if n := r.Calls("FindPeople") + r.Calls("ResolveNames"); n != 0 {
		t.Errorf("%d more requests to a server that asks for patience", n)
	}
	r = newRig(t, nil).impersonating()
	r.cfg.Password = connection.NewSecret("wrong")
	_, err = listed(t, r.open(t), nil)
	wantKind(t, err, connection.ErrAuth)
	if n := r.Calls("FindPeople") + r.Calls("ResolveNames"); n != 0 {
		t.Errorf("%d more requests after a refused login", n)
	}
}

func TestMailboxesWithArchives(t *testing.T) {
	r := newRig(t, nil).impersonating()
	skipped := r.skips()
	names := r.people(3)
	r.AddMailbox(bob, ewstest.MailboxOptions{Password: canary}).Archive()
	r.alice.Archive()
	r.GrantImpersonation(svc)
	r.cfg.IncludeArchive = true
	r.cfg.Mailboxes = append([]string{alice, bob, "nobody@corp.test"}, names...)
	r.Revoke(svc, names[0])
	wantListed(t, r.open(t), append([]string{alice, alice + "#archive", bob, bob + "#archive", "nobody@corp.test"}, names...)...)
	for name, kind := range map[string]connection.Kind{"nobody@corp.test#archive": connection.ErrNotFound, names[0] + "#archive": connection.ErrPermission} {
		if ev := skipped()[name]; !errors.Is(ev.Err, kind) {
			t.Errorf("%s: skipped for %v, want %v", name, ev.Err, kind)
		}
	}
	if got, err := listed(t, r.open(t), &connection.MailboxOptions{Match: "*#archive"}); err != nil || len(got) != 2 {
		t.Errorf("archives: %q, %v", got, err)
	}
	// They can be opened by these names.
	for f, err := range r.open(t).Folders(t.Context(), bob+"#archive") {
		if err != nil || f.Mailbox != bob+"#archive" {
			t.Errorf("%+v, %v", f, err)
		}
	}
}

// TestE31MailboxesThatCannotBeOpened: each is its own error, with its own kind, and the others are not affected.
func TestE31MailboxesThatCannotBeOpened(t *testing.T) {
	r := newRig(t, nil).impersonating()
	for code, kind := range map[string]connection.Kind{
		"ErrorAccountDisabled": connection.ErrPermission, "ErrorNonExistentMailbox": connection.ErrNotFound, "ErrorCannotFindUser": connection.ErrNotFound,
		"ErrorImpersonationFailed": connection.ErrPermission, "ErrorAccessDenied": connection.ErrPermission,
	} {
		name := strings.ToLower(code) + "@corp.test"
		r.AddMailbox(name, ewstest.MailboxOptions{Password: canary, Fault: code})
		r.GrantImpersonation(svc, name)
		c := r.open(t)
		n := 0
		for _, err := range c.Folders(t.Context(), name) {
			n++
			e := theError(t, err, kind)
			if e.Code != code || !strings.Contains(e.Error(), name) {
				t.Errorf("%s: %v", code, e)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d errors, want 1", code, n)
		}
		for _, err := range c.Folders(t.Context(), alice) {
			if err != nil {
				t.Errorf("%s spoils alice's mailbox: %v", code, err)
			}
		}
	}
}

// TestMailboxesFarAway asks the directory for an account that autodiscover does not know.
func TestMailboxesFarAway(t *testing.T) {
	r := newRig(t, nil).discovering()
	r.cfg.TestMailbox, r.cfg.Mailboxes = "", nil
	r.cfg.Groups = []string{"all@corp.test"}
	r.AddGroup(ewstest.Group{Address: "all@corp.test", Members: []string{alice}})
	wantListed(t, r.open(t), alice)
	r.cfg.Server, r.cfg.Username, r.cfg.TestMailbox = "", svc, alice
	wantListed(t, r.open(t), alice)
}
