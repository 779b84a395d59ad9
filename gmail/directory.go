package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	directory "google.golang.org/api/admin/directory/v1"
	"google.golang.org/api/googleapi"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// A user is one of the directory.
type user struct {
	ID      string // immutable
	Email   string // the current primary address
	Name    string // for people
	Aliases []string
	OrgUnit string
	Skip    string // why the mailbox is not read: one of the words below; "" = it is
}

// Why a user's mailbox is not read.
const (
	skipSuspended   = "suspended"
	skipArchived    = "archived"
	skipNoMailbox   = "no mailbox"
	skipGuest       = "guest"
	skipNotSelected = "not selected"
)

// addresses returns all addresses of a user, the primary one first.
func (u *user) addresses() []string { return append([]string{u.Email}, u.Aliases...) }

const (
	userFields = "id,primaryEmail,name/fullName,aliases,nonEditableAliases,suspended,archived,isMailboxSetup,isGuestUser,orgUnitPath"
	usersPage  = 500
	groupPage  = 200 // members.list gives no more
)

// users yields every user of the directory, also those that are not read: see user.Skip. Any error is the last, and has no Op.
func (c *Conn) users(ctx context.Context) iter.Seq2[*user, error] {
	return func(yield func(*user, error) bool) {
		pick, err := c.selection(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		met := make(map[string]bool)
		for page, err := range pages("users.list", func(token string) (all []*directoryUser, next string, err error) {
			return c.usersPage(ctx, token, usersPage)
		}) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, u := range page {
				if u == nil || u.ID == "" || u.Email == "" || met[u.ID] {
					continue
				}
				met[u.ID] = true
				if !yield(pick.user(u), nil) {
					return
				}
			}
		}
	}
}

// pages yields the pages of a listing, as long as they lead anywhere.
func pages[T any](method string, next func(token string) ([]T, string, error)) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		var guard pageGuard
		for token := ""; ; {
			page, following, err := next(token)
			if err == nil {
				err = guard.next(method, following, len(page))
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) || following == "" {
				return
			}
			token = following
		}
	}
}

// A directoryUser is a user as the directory gives her. The library's own type cannot tell a server that does not speak of
// mailboxes from a user who has none.
type directoryUser struct {
	ID                 string   `json:"id"`
	Email              string   `json:"primaryEmail"`
	Aliases            []string `json:"aliases"`
	NonEditableAliases []string `json:"nonEditableAliases"`
	OrgUnit            string   `json:"orgUnitPath"`
	Suspended          bool     `json:"suspended"`
	Archived           bool     `json:"archived"`
	Guest              bool     `json:"isGuestUser"`
	HasMailbox         *bool    `json:"isMailboxSetup"`
	Name               struct {
		Full string `json:"fullName"`
	} `json:"name"`
}

// usersPage asks for a page of the directory.
func (c *Conn) usersPage(ctx context.Context, token string, size int) (users []*directoryUser, next string, err error) {
	query := url.Values{
		"maxResults": {strconv.Itoa(size)}, "orderBy": {"email"}, "projection": {"basic"},
		"fields": {"nextPageToken,users(" + userFields + ")"},
	}
	if c.cfg.Domain != "" {
		query.Set("domain", c.cfg.Domain)
	} else {
		query.Set("customer", c.cfg.customer())
	}
	if token != "" {
		query.Set("pageToken", token)
	}
	var page struct {
		Users []*directoryUser `json:"users"`
		Next  string           `json:"nextPageToken"`
	}
	err = c.askDirectory(ctx, "users.list", "", query, &page)
	return page.Users, page.Next, err
}

// user asks the directory for one user, by id, primary address or alias. Its errors have no Op. The settings' choice of
// groups is not looked at: Skip is what the directory itself says.
func (c *Conn) user(ctx context.Context, key string) (*user, error) {
	var found directoryUser
	err := c.askDirectory(ctx, "users.get", "/"+url.PathEscape(key), url.Values{"projection": {"basic"}, "fields": {userFields}}, &found)
	var e *connection.Error
	switch {
	case errors.As(err, &e) && e.Kind == connection.ErrNotFound && e.Op != "token":
		again := *e
		again.Err = fmt.Errorf("the directory has no user %q (%w)", key, e.Err)
		again.Hint = "a user who was deleted can be restored for 20 days: keep what is known of the mailbox until then"
		return nil, &again
	case err != nil:
		return nil, err
	case found.ID == "" || found.Email == "": // without an address a token would be somebody else's
		return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrProtocol, Err: fmt.Errorf("the directory gives user %q no id or no address", key)}
	}
	return newUser(&found), nil
}

// askDirectory makes a call about users, with a path behind that of their collection.
func (c *Conn) askDirectory(ctx context.Context, method, path string, query url.Values, into any) error {
	query.Set("alt", "json")
	query.Set("prettyPrint", "false")
	at := c.sites.directory.String() + "/admin/directory/v1/users" + path + "?" + query.Encode()
	return c.do(ctx, c.admin, call{method: method, scope: scopeUsers, safe: true, work: quota.Other}, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return err
		}
		resp, err := c.client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }() // it is read to its end
		if err := googleapi.CheckResponse(resp); err != nil {
			return err
		}
		page, err := io.ReadAll(resp.Body) // the transport bounds it
		if err != nil {
			return err
		}
		return json.Unmarshal(page, into)
	})
}

// newUser takes over what matters of a directory's user.
func newUser(u *directoryUser) *user {
	out := &user{ID: u.ID, Email: u.Email, Name: or(u.Name.Full, u.Email), OrgUnit: u.OrgUnit, Aliases: slices.Concat(u.Aliases, u.NonEditableAliases)}
	switch {
	case u.Suspended:
		out.Skip = skipSuspended
	case u.Archived:
		out.Skip = skipArchived
	case u.Guest:
		out.Skip = skipGuest
	case u.HasMailbox != nil && !*u.HasMailbox:
		out.Skip = skipNoMailbox
	}
	return out
}

// A selection is what the settings say about which users are read.
type selection struct {
	cfg             *Config
	groups, without map[string]bool // ids and addresses of members; nil = no such setting
}

// selection reads the groups that the settings name.
func (c *Conn) selection(ctx context.Context) (*selection, error) {
	s := &selection{cfg: &c.cfg}
	var err error
	if s.groups, err = c.members(ctx, c.cfg.Groups); err != nil {
		return nil, err
	}
	if s.without, err = c.members(ctx, c.cfg.ExcludeGroups); err != nil {
		return nil, err
	}
	return s, nil
}

// members returns who is in one of groups, directly or by a group in it. Members that are no users of the directory match nobody.
func (c *Conn) members(ctx context.Context, groups []string) (map[string]bool, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	all := make(map[string]bool)
	for _, group := range groups {
		for page, err := range pages("members.list", func(token string) ([]*directory.Member, string, error) { return c.groupPage(ctx, group, token) }) {
			if err != nil {
				return nil, err
			}
			for _, m := range page {
				if m != nil && m.Type != "GROUP" && m.Type != "CUSTOMER" {
					all[m.Id], all[strings.ToLower(m.Email)] = true, true
				}
			}
		}
	}
	delete(all, "")
	return all, nil
}

func (c *Conn) groupPage(ctx context.Context, group, token string) ([]*directory.Member, string, error) {
	var list *directory.Members
	err := c.do(ctx, c.admin, call{method: "members.list", scope: scopeGroups, safe: true, work: quota.Other}, func(ctx context.Context) (err error) {
		request := c.directory.Members.List(group).IncludeDerivedMembership(true).MaxResults(groupPage).Fields("nextPageToken,members(id,email,type)")
		if token != "" {
			request.PageToken(token)
		}
		list, err = request.Context(ctx).Do()
		return err
	})
	var e *connection.Error
	switch {
	case errors.As(err, &e) && e.Kind == connection.ErrNotFound:
		again := *e
		again.Kind, again.Err = connection.ErrConfig, fmt.Errorf("the directory has no group %q (%w)", group, e.Err)
		again.Hint = "groups, exclude_groups: give the addresses of groups of this domain"
		return nil, "", &again
	case err != nil:
		return nil, "", err
	}
	return list.Members, list.NextPageToken, nil
}

// user takes over a user, and says whether the settings select her. What cannot be read is told only of those who are selected.
func (s *selection) user(u *directoryUser) *user {
	out := newUser(u)
	if !s.selects(out) {
		out.Skip = skipNotSelected
	}
	return out
}

func (s *selection) selects(u *user) bool {
	c := s.cfg
	return !s.excludes(u) && (len(c.Include) == 0 || fits(c.Include, u)) && (len(c.OrgUnits) == 0 || below(c.OrgUnits, u.OrgUnit)) &&
		(s.groups == nil || in(s.groups, u))
}

// fits reports whether one of patterns fits one of a user's addresses.
func fits(patterns []string, u *user) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return slices.ContainsFunc(u.addresses(), func(address string) bool {
			ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(address))
			return err == nil && ok
		})
	})
}

// excludes reports whether the settings forbid to open a user's mailbox, also to a caller who names it. The destination of
// monitors is no user's, and is read also if it is excluded as a source.
func (c *Conn) excludes(ctx context.Context, u *user) (bool, error) {
	if c.cfg.monitored() && slices.ContainsFunc(u.addresses(), func(a string) bool { return strings.EqualFold(a, c.destinationAddress()) }) {
		return false, nil
	}
	without, err := c.members(ctx, c.cfg.ExcludeGroups)
	if err != nil {
		return false, err
	}
	s := &selection{cfg: &c.cfg, without: without}
	return s.excludes(u), nil
}

func (s *selection) excludes(u *user) bool {
	return fits(s.cfg.Exclude, u) || below(s.cfg.ExcludeOrgUnits, u.OrgUnit) || in(s.without, u)
}

// in reports whether a user is among the members of groups.
func in(members map[string]bool, u *user) bool {
	return members[u.ID] || slices.ContainsFunc(u.addresses(), func(a string) bool { return members[strings.ToLower(a)] })
}

// below reports whether an organisational unit is one of units, or in one of them.
func below(units []string, unit string) bool {
	return slices.ContainsFunc(units, func(top string) bool {
		top = strings.TrimSuffix(strings.ToLower(top), "/")
		at := strings.ToLower(unit)
		return at == top || strings.HasPrefix(at, top+"/")
	})
}
