package gmailtest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	customerID = "C03az79cb"

	maxUsers   = 500 // a page of users.list
	maxMembers = 200 // a page of members.list

	defaultUsers = 100
)

// pageLife is how long page tokens of the directory are good.
const pageLife = 3 * 24 * time.Hour

// directoryMethods registers the methods of the Directory API.
func (s *Server) directoryMethods() {
	s.handle("users.list", []string{scopeUsers, scopeUsersReadonly, scopeCloud}, s.listUsers)
	s.handle("users.get", []string{scopeUsers, scopeUsersReadonly}, s.getUser)
	s.handle("members.list", []string{scopeGroups, scopeGroupsReadonly, scopeMembers, scopeMembersRead}, s.listMembers)
}

func errNotAdmin() *apiError {
	return forbidden("forbidden", "Not Authorized to access this resource/api")
}

func resourceNotFound(what string) *apiError {
	e := notFound("Resource Not Found: " + what)
	e.code = ""
	return e
}

func invalidInput(what string) *apiError {
	e := malformed("invalid", "Invalid Input: "+what)
	e.code = ""
	return e
}

// mayRead reports whether the caller is an administrator. s.mu is held.
func (q *request) mayRead() bool {
	a := q.grant.account
	return a != nil && !a.Suspended && (a.Admin || a.UserReader)
}

// listUsers is users.list.
func (s *Server) listUsers(q *request) (any, error) {
	most, err := q.number("maxResults", defaultUsers, maxUsers)
	if err != nil {
		return nil, err
	}
	for _, c := range [][]string{
		{"orderBy", "email", "familyName", "givenName"},
		{"sortOrder", "ASCENDING", "DESCENDING"},
		{"projection", "basic", "custom", "full"},
		{"viewType", "admin_view", "domain_public"},
		{"showDeleted", "true", "false"},
	} {
		if _, err := q.choice(c[0], "", c[1:]...); err != nil {
			return nil, err
		}
	}
	wanted, ok := parseUserQuery(q.query.Get("query"))
	if !ok {
		return nil, invalidInput("query")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	public := q.query.Get("viewType") == "domain_public" && q.grant.account != nil
	if !public && !q.mayRead() {
		return nil, errNotAdmin()
	}
	customer, domain := q.query.Get("customer"), q.query.Get("domain")
	switch {
	case (customer == "") == (domain == ""):
		return nil, malformed("badRequest", "Bad Request")
	case customer != "" && customer != "my_customer" && customer != customerID:
		return nil, errNotAdmin()
	case domain != "" && !strings.EqualFold(domain, s.opts.Domain) && !slices.ContainsFunc(s.opts.Domains, func(d string) bool { return strings.EqualFold(d, domain) }):
		return nil, notFound("Domain not found.")
	}
	var found []*account
	for _, a := range s.directory.accounts {
		_, of, _ := strings.Cut(a.Email, "@")
		if a.deleted == (q.query.Get("showDeleted") == "true") && (domain == "" || strings.EqualFold(of, domain)) && wanted(a) {
			found = append(found, a)
		}
	}
	sortUsers(found, q.query.Get("orderBy"), q.query.Get("sortOrder") == "DESCENDING")
	first, err := s.firstOf(q, len(found))
	if err != nil {
		return nil, err
	}
	last := min(first+most, len(found))
	answer := obj("kind", "admin#directory#users", "etag", `"users"`)
	if last > first {
		list := make([]object, 0, last-first)
		for _, a := range found[first:last] {
			list = append(list, s.showUser(a))
		}
		answer = append(answer, member{"users", list})
	}
	if last < len(found) {
		answer = append(answer, member{"nextPageToken", s.pageToken(q, last)})
	}
	return answer, nil
}

func sortUsers(list []*account, by string, descending bool) {
	slices.SortStableFunc(list, func(a, b *account) int {
		order := cmp.Compare(strings.ToLower(a.Email), strings.ToLower(b.Email))
		if by == "givenName" || by == "familyName" {
			order = cmp.Or(cmp.Compare(strings.ToLower(a.names()[by]), strings.ToLower(b.names()[by])), order)
		}
		if descending {
			return -order
		}
		return order
	})
}

// names are the parts of the account's name.
func (a *account) names() map[string]string {
	local, _, _ := strings.Cut(a.Email, "@")
	full := or(a.Name, local)
	given, family, _ := strings.Cut(full, " ")
	return map[string]string{"fullName": full, "givenName": given, "familyName": or(family, given)}
}

// pageToken makes a token for what comes from an offset on, which is good for the same request only. s.mu is held.
func (s *Server) pageToken(q *request, offset int) string {
	text := fmt.Sprintf("%d %d %s", offset, s.now().UnixNano(), q.sameness())
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// sameness is what all pages of a list have in common.
func (q *request) sameness() string {
	query := q.http.URL.Query()
	for _, free := range []string{"pageToken", "maxResults", "fields", "alt", "prettyPrint", "quotaUser"} {
		query.Del(free)
	}
	return q.method + q.id + "?" + query.Encode()
}

// firstOf reads what pageToken made: 0 without a token.
func (s *Server) firstOf(q *request, most int) (int, error) {
	if !q.has("pageToken") {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(q.query.Get("pageToken"))
	parts := strings.SplitN(string(text), " ", 3)
	if err != nil || len(parts) != 3 || parts[2] != q.sameness() {
		return 0, invalidInput("INVALID_PAGE_TOKEN")
	}
	first, err := strconv.Atoi(parts[0])
	given, err2 := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || err2 != nil || first < 0 || s.now().Sub(time.Unix(0, given)) > pageLife {
		return 0, invalidInput("INVALID_PAGE_TOKEN")
	}
	return min(first, most), nil
}

// getUser is users.get.
func (s *Server) getUser(q *request) (any, error) {
	for _, c := range [][]string{{"projection", "basic", "custom", "full"}, {"viewType", "admin_view", "domain_public"}} {
		if _, err := q.choice(c[0], "", c[1:]...); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if public := q.query.Get("viewType") == "domain_public" && q.grant.account != nil; !public && !q.mayRead() {
		return nil, errNotAdmin()
	}
	a := s.directory.find(q.id)
	if a == nil {
		return nil, resourceNotFound("userKey")
	}
	return s.showUser(a), nil
}

// showUser is a User of the API. s.mu is held.
func (s *Server) showUser(a *account) object {
	names := a.names()
	emails := []object{obj("address", a.Email, "primary", true)}
	for _, alias := range a.Aliases {
		emails = append(emails, obj("address", alias))
	}
	o := obj(
		"kind", "admin#directory#user", "id", a.ID, "etag", `"user-`+a.ID+`"`, "primaryEmail", a.Email,
		"name", obj("givenName", names["givenName"], "familyName", names["familyName"], "fullName", names["fullName"]),
		"isAdmin", a.Admin, "isDelegatedAdmin", a.UserReader, "lastLoginTime", "1970-01-01T00:00:00.000Z",
		"creationTime", a.Created.UTC().Format("2006-01-02T15:04:05.000Z"), "agreedToTerms", true, "suspended", a.Suspended,
	)
	if a.Suspended {
		o = append(o, member{"suspensionReason", "ADMIN"})
	}
	o = append(o, obj("archived", a.Archived, "changePasswordAtNextLogin", false, "ipWhitelisted", false, "emails", emails)...)
	if len(a.Aliases) > 0 {
		o = append(o, member{"aliases", a.Aliases})
	}
	o = append(o, obj("customerId", customerID, "orgUnitPath", a.OrgUnit, "isMailboxSetup", !a.NoMailbox, "isEnrolledIn2Sv", false,
		"isEnforcedIn2Sv", false, "includeInGlobalAddressList", true)...)
	if a.Guest {
		o = append(o, member{"isGuestUser", true})
	}
	if a.deleted {
		o = append(o, member{"deletionTime", a.gone.UTC().Format("2006-01-02T15:04:05.000Z")})
	}
	return o
}

// parseUserQuery reads a search for users: clauses such as orgUnitPath='/Sales', email:ann*, isSuspended=true, all of which must
// hold.
func parseUserQuery(text string) (wanted func(*account) bool, ok bool) {
	var all []func(*account) bool
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		at := strings.IndexAny(text, "=: ")
		if at <= 0 || text[at] == ' ' {
			return nil, false
		}
		field, operator, rest := text[:at], text[at], text[at+1:]
		value, rest, ok := cutValue(rest)
		clause := userClause(field, operator, value)
		if !ok || clause == nil {
			return nil, false
		}
		all, text = append(all, clause), rest
	}
	return func(a *account) bool {
		for _, clause := range all {
			if !clause(a) {
				return false
			}
		}
		return true
	}, true
}

// cutValue takes a value from the start of a text: a word, or something in single quotes, in which a backslash quotes.
func cutValue(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, "'") {
		value, rest, _ = strings.Cut(text, " ")
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
		case text[i] == '\'':
			return b.String(), text[i+1:], true
		}
		b.WriteByte(text[i])
	}
	return "", "", false
}

// userClause returns one condition of a search, nil if there is no such one.
func userClause(field string, operator byte, value string) func(*account) bool {
	isTrue := strings.EqualFold(value, "true")
	prefix, begins := strings.CutSuffix(value, "*")
	fits := func(have string) bool {
		have, want := strings.ToLower(have), strings.ToLower(prefix)
		return have == want || (begins || operator == ':') && strings.HasPrefix(have, want)
	}
	switch field {
	case "orgUnitPath": // "This matches all organization unit chains under the target."
		return func(a *account) bool { return within(a.OrgUnit, value) }
	case "email":
		return func(a *account) bool { return fits(a.Email) || slices.ContainsFunc(a.Aliases, fits) }
	case "givenName", "familyName":
		return func(a *account) bool { return fits(a.names()[field]) }
	case "name":
		return func(a *account) bool { return fits(a.names()["fullName"]) }
	case "isSuspended":
		return func(a *account) bool { return a.Suspended == isTrue }
	case "isArchived":
		return func(a *account) bool { return a.Archived == isTrue }
	case "isAdmin":
		return func(a *account) bool { return a.Admin == isTrue }
	}
	return nil
}

// within reports whether a path of an organisational unit is another one, or below it.
func within(path, unit string) bool {
	unit = strings.TrimSuffix(unit, "/")
	return path == or(unit, "/") || strings.HasPrefix(path, unit+"/")
}
