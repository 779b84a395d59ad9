package gmailtest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	directory "google.golang.org/api/admin/directory/v1"
	"google.golang.org/api/option"
)

const (
	readUsers   = directory.AdminDirectoryUserReadonlyScope
	readMembers = directory.AdminDirectoryGroupMemberReadonlyScope
)

// admin is Google's own client of the directory, for one token.
func admin(t *testing.T, srv *gmailtest.Server, token string) *directory.Service {
	t.Helper()
	svc, err := directory.NewService(t.Context(), option.WithHTTPClient(&http.Client{Transport: bearer{token, transport(t, srv)}}), option.WithEndpoint(srv.URL()+"/"))
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func emails(list []*directory.User) (all []string) {
	for _, u := range list {
		all = append(all, u.PrimaryEmail)
	}
	return all
}

func TestUsers(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	ann := srv.AddUser(gmailtest.User{Email: "ann@corp.example", Aliases: []string{"a.other@corp.example"}, Name: "Ann Other", OrgUnit: "/Sales/North"})
	srv.AddUser(gmailtest.User{Email: "zoe@corp.example", OrgUnit: "/Salesmen"})
	srv.AddUser(gmailtest.User{Email: "bob@corp.example", Suspended: true, OrgUnit: "/Sales"})
	srv.AddUser(gmailtest.User{Email: "cyd@corp.example", Archived: true, NoMailbox: true})
	srv.AddUser(gmailtest.User{Email: "dan@corp.example", Guest: true})
	svc := admin(t, srv, srv.Token("admin@corp.example", readUsers))
	all, err := svc.Users.List().Customer("my_customer").OrderBy("email").Projection("basic").MaxResults(500).Do()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"admin@corp.example", "ann@corp.example", "bob@corp.example", "cyd@corp.example", "dan@corp.example", "zoe@corp.example"}
	if got := emails(all.Users); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if u := all.Users[0]; !u.IsAdmin || u.IsMailboxSetup {
		t.Errorf("the administrator: %+v", u)
	}
	if u := all.Users[1]; u.Id != ann || len(ann) != 21 || !slices.Equal(u.Aliases, []string{"a.other@corp.example"}) || u.OrgUnitPath != "/Sales/North" || u.Name.FamilyName != "Other" || !u.IsMailboxSetup || u.Suspended {
		t.Errorf("got %+v", u)
	}
	if !all.Users[2].Suspended || !all.Users[3].Archived || all.Users[3].IsMailboxSetup || !all.Users[4].IsGuestUser {
		t.Errorf("got %+v", all.Users[2:5])
	}
	for query, want := range map[string][]string{
		"orgUnitPath=/Sales":                    {"ann@corp.example", "bob@corp.example"},
		"orgUnitPath='/Sales/North'":            {"ann@corp.example"},
		"orgUnitPath='/Sales' isSuspended=true": {"bob@corp.example"},
		"orgUnitPath=/":                         want,
		"email:a*":                              {"admin@corp.example", "ann@corp.example"},
		"email=a.other@corp.example":            {"ann@corp.example"},
		"givenName:Ann":                         {"ann@corp.example"},
		"name:'ann o'":                          {"ann@corp.example"},
		"isArchived=true":                       {"cyd@corp.example"},
		"isAdmin=true":                          {"admin@corp.example"},
		"orgUnitPath='/O\\'Hara'":               nil,
	} {
		got, err := svc.Users.List().Customer("my_customer").Query(query).Do()
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if !slices.Equal(emails(got.Users), want) {
			t.Errorf("%s: got %q, want %q", query, emails(got.Users), want)
		}
	}
	for by, want := range map[string]string{"email": "zoe@corp.example", "givenName": "zoe@corp.example", "familyName": "zoe@corp.example"} {
		got, err := svc.Users.List().Customer("my_customer").OrderBy(by).SortOrder("DESCENDING").Do()
		if err != nil || got.Users[0].PrimaryEmail != want || got.Users[5].PrimaryEmail == want {
			t.Errorf("by %s: got %v, %v", by, got, err)
		}
	}
	if got, err := svc.Users.List().Customer("my_customer").OrderBy("familyName").Do(); err != nil || !slices.Equal(emails(got.Users), []string{
		"admin@corp.example", "bob@corp.example", "cyd@corp.example", "dan@corp.example", "ann@corp.example", "zoe@corp.example",
	}) {
		t.Errorf("by family names: got %v, %v", got, err)
	}
	for _, key := range []string{ann, "ann@corp.example", "A.Other@corp.example"} {
		if u, err := svc.Users.Get(key).Do(); err != nil || u.Id != ann {
			t.Errorf("%s: got %v, %v", key, u, err)
		}
	}
	_, err = svc.Users.Get("nobody@corp.example").Do()
	if e := refusal(t, err, 404, "notFound"); e.Message != "Resource Not Found: userKey" {
		t.Errorf("got %q", e.Message)
	}
	masked, err := svc.Users.List().Domain("corp.example").Fields("nextPageToken", "users(id,name/fullName)").Do()
	if err != nil || masked.Users[1].PrimaryEmail != "" || masked.Users[1].Id != ann || masked.Users[1].Name.FullName != "Ann Other" || masked.Users[1].Name.FamilyName != "" {
		t.Errorf("got %+v, %v", masked, err)
	}
	if n := srv.Units(""); n != 0 {
		t.Errorf("the directory cost %d units", n)
	}
}

// People come and go.
func TestChanges(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	ann := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	svc := admin(t, srv, srv.Token("admin@corp.example", readUsers))
	get := func(key string) *directory.User {
		t.Helper()
		u, err := svc.Users.Get(key).Do()
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	srv.RenameUser(ann, "anna@corp.example")
	if u := get("ann@corp.example"); u.Id != ann || u.PrimaryEmail != "anna@corp.example" || !slices.Contains(u.Aliases, "ann@corp.example") {
		t.Errorf("after it was renamed: %+v", u)
	}
	srv.Suspend(ann, true)
	srv.Archive(ann, true)
	srv.Move(ann, "/Gone")
	if u := get(ann); !u.Suspended || u.SuspensionReason == "" || !u.Archived || u.OrgUnitPath != "/Gone" {
		t.Errorf("got %+v", u)
	}
	srv.RemoveUser(ann)
	_, err := svc.Users.Get(ann).Do()
	refusal(t, err, 404, "notFound")
	if gone, err := svc.Users.List().Customer("my_customer").ShowDeleted("true").Do(); err != nil || len(gone.Users) != 1 || gone.Users[0].DeletionTime == "" {
		t.Errorf("got %+v, %v", gone, err)
	}
	if other := srv.AddUser(gmailtest.User{Email: "anna@corp.example"}); other == ann {
		t.Error("a new user has the id of a deleted one")
	}
	if got := len(srv.Users()); got != 2 {
		t.Errorf("got %d users, want 2", got)
	}
}

func TestUserPages(t *testing.T) {
	clock := gmailtest.NewClock(time.Now())
	srv := gmailtest.NewServer(t, &gmailtest.Options{Clock: clock, AllowBadRequests: true})
	for i := range 249 {
		srv.AddUser(gmailtest.User{Email: fmt.Sprintf("u%03d@corp.example", i)})
	}
	svc := admin(t, srv, srv.Token("admin@corp.example", readUsers))
	call := svc.Users.List().Customer("my_customer").OrderBy("email")
	var got []string
	pages := 0
	if err := call.Pages(t.Context(), func(page *directory.Users) error {
		got = append(got, emails(page.Users)...)
		pages++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if pages != 3 || len(got) != 250 || !slices.IsSorted(got) {
		t.Errorf("got %d users on %d pages", len(got), pages)
	}
	page, err := svc.Users.List().Customer("my_customer").MaxResults(200).Do()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"invented": "abc", "of another list": page.NextPageToken} {
		_, err := svc.Users.List().Domain("corp.example").PageToken(token).Do()
		if err == nil {
			t.Fatalf("a page token that is %s was taken", name)
		}
		refusal(t, err, 400, "invalid")
	}
	clock.Advance(73 * time.Hour)
	_, err = svc.Users.List().Customer("my_customer").PageToken(page.NextPageToken).Do()
	refusal(t, err, 400, "invalid")
}

func TestDirectoryRefusals(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{AllowBadRequests: true, Domains: []string{"corp.test"}})
	srv.AddUser(gmailtest.User{Email: "reader@corp.example", UserReader: true})
	ann := admin(t, srv, srv.Token("ann@corp.example", readUsers, readMembers))
	_, err := ann.Users.List().Customer("my_customer").Do()
	if e := refusal(t, err, 403, "forbidden"); e.Message != "Not Authorized to access this resource/api" {
		t.Errorf("got %q", e.Message)
	}
	_, err = ann.Members.List("x@corp.example").Do()
	refusal(t, err, 403, "forbidden")
	_, err = ann.Users.Get("ann@corp.example").Do()
	refusal(t, err, 403, "forbidden")
	if u, err := ann.Users.Get("ann@corp.example").ViewType("domain_public").Do(); err != nil || u.PrimaryEmail != "ann@corp.example" {
		t.Errorf("got %v, %v", u, err)
	}
	if got, err := ann.Users.List().Customer("my_customer").ViewType("domain_public").Do(); err != nil || len(got.Users) != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	reader := admin(t, srv, srv.Token("reader@corp.example", readUsers))
	if got, err := reader.Users.List().Domain("corp.test").Do(); err != nil || len(got.Users) != 0 {
		t.Errorf("a domain without users: %v, %v", got, err)
	}
	_, err = reader.Users.List().Domain("other.test").Do()
	if e := refusal(t, err, 404, "notFound"); e.Message != "Domain not found." {
		t.Errorf("got %q", e.Message)
	}
	_, err = reader.Users.List().Customer("C0other").Do()
	refusal(t, err, 403, "forbidden")
	_, err = reader.Members.List("x@corp.example").Do()
	refusal(t, err, 403, "insufficientPermissions")
	for name, c := range map[string]struct {
		call   *directory.UsersListCall
		reason string
	}{
		"neither":  {reader.Users.List(), "badRequest"},
		"both":     {reader.Users.List().Customer("my_customer").Domain("corp.example"), "badRequest"},
		"page 501": {reader.Users.List().Customer("my_customer").MaxResults(501), "invalidParameter"},
		"order":    {reader.Users.List().Customer("my_customer").OrderBy("age"), "invalidParameter"},
		"query":    {reader.Users.List().Customer("my_customer").Query("colour=red"), "invalid"},
		"no value": {reader.Users.List().Customer("my_customer").Query("email: x"), "invalid"},
		"no field": {reader.Users.List().Customer("my_customer").Query("ann"), "invalid"},
		"quotes":   {reader.Users.List().Customer("my_customer").Query("orgUnitPath='/x"), "invalid"},
	} {
		_, err := c.call.Do()
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		refusal(t, err, 400, c.reason)
	}
	if got := len(srv.BadRequests()); got != 8 {
		t.Errorf("got %d bad requests, want 8: %q", got, srv.BadRequests())
	}
	if srv := gmailtest.NewServer(t, &gmailtest.Options{Without: []string{"directory"}}); true {
		status, header, _ := ask(t, srv, "GET", "/admin/directory/v1/users?customer=my_customer", srv.Token("admin@corp.example", readUsers), "", "")
		if status != 404 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			t.Errorf("a server without a directory: %d, %s", status, header)
		}
	}
}

func TestMembers(t *testing.T) {
	srv := gmailtest.NewServer(t, &gmailtest.Options{AllowBadRequests: true})
	svc := admin(t, srv, srv.Token("admin@corp.example", readMembers))
	ann := srv.AddUser(gmailtest.User{Email: "ann@corp.example"})
	srv.AddGroup("inner@corp.example", "ann@corp.example", "outer@corp.example", "x@elsewhere.test")
	srv.AddGroup("outer@corp.example", "inner@corp.example", "ann@corp.example")
	list := func(group string, derived bool) map[string]*directory.Member {
		t.Helper()
		got := make(map[string]*directory.Member)
		if err := svc.Members.List(group).IncludeDerivedMembership(derived).Pages(t.Context(), func(page *directory.Members) error {
			if len(page.Members) > 200 {
				t.Errorf("a page of %d", len(page.Members))
			}
			for _, m := range page.Members {
				if got[m.Email] != nil {
					t.Errorf("%s comes twice", m.Email)
				}
				got[m.Email] = m
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := list("outer@corp.example", false); len(got) != 2 || got["inner@corp.example"].Type != "GROUP" || got["ann@corp.example"].Id != ann {
		t.Errorf("got %v", got)
	}
	if got := list("outer@corp.example", true); len(got) != 4 || got["x@elsewhere.test"] == nil || got["x@elsewhere.test"].Id != "" {
		t.Errorf("got %v", got)
	}
	srv.Suspend(ann, true)
	if got := list("outer@corp.example", false); got["ann@corp.example"].Status != "SUSPENDED" {
		t.Errorf("got %v", got["ann@corp.example"])
	}
	srv.AddGroup("outer@corp.example")
	if got := list("outer@corp.example", false); len(got) != 0 {
		t.Errorf("a group without members: %v", got)
	}
	var many []string
	for i := range 201 {
		many = append(many, fmt.Sprintf("m%d@elsewhere.test", i))
	}
	srv.AddGroup("many@corp.example", many...)
	if got := list("many@corp.example", true); len(got) != 201 {
		t.Errorf("got %d members", len(got))
	}
	if n := srv.Calls("members.list"); n != 6 {
		t.Errorf("got %d calls, want 6", n)
	}
	if got, err := svc.Members.List("many@corp.example").Roles("OWNER").Do(); err != nil || len(got.Members) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	_, err := svc.Members.List("none@corp.example").Do()
	if e := refusal(t, err, 404, "notFound"); e.Message != "Resource Not Found: groupKey" {
		t.Errorf("got %q", e.Message)
	}
	_, err = svc.Members.List("many@corp.example").MaxResults(201).Do()
	refusal(t, err, 400, "invalidParameter")
	_, err = svc.Members.List("many@corp.example").Roles("KING").Do()
	refusal(t, err, 400, "invalidParameter")
}

// Two users never have the same address, and nobody is changed who is not there.
func TestAddressesAreTaken(t *testing.T) {
	srv := gmailtest.NewServer(t, nil)
	srv.AddUser(gmailtest.User{Email: "ann@corp.example", Aliases: []string{"a@corp.example"}})
	id := srv.AddUser(gmailtest.User{Email: "bob@corp.example"})
	for name, f := range map[string]func(){
		"an alias":    func() { srv.AddUser(gmailtest.User{Email: "cyd@corp.example", Aliases: []string{"A@corp.example"}}) },
		"renamed":     func() { srv.RenameUser("bob@corp.example", "a@corp.example") },
		"nobody":      func() { srv.Suspend("nobody@corp.example", true) },
		"no address":  func() { srv.AddUser(gmailtest.User{Email: "dan"}) },
		"not deleted": func() { srv.RestoreUser(id) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it was done", name)
				}
			}()
			f()
		}()
	}
	if again := srv.AddUser(gmailtest.User{ID: "42", Email: "ann@corp.example", OrgUnit: "/x"}); again != "42" {
		t.Errorf("got %s", again)
	}
	if got := srv.AddUser(gmailtest.User{ID: "42", Email: "anna@corp.example"}); got != "42" || srv.AddUser(gmailtest.User{Email: "ann@corp.example"}) == "42" {
		t.Error("an address belongs to whom it belonged to")
	}
}
