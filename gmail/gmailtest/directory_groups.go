package gmailtest

import (
	"slices"
	"strings"
)

// A group of the directory. Guarded by Server.mu.
type group struct {
	id, email string
	members   []string // addresses or ids, of users, groups, and people elsewhere
}

// AddGroup adds a group to the directory, or replaces it. Members are addresses: of users, of other groups, and of people who are not
// in the directory.
func (s *Server) AddGroup(email string, members ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.directory.group(email)
	if g == nil {
		g = &group{id: s.directory.newID(), email: email}
		s.directory.groups = append(s.directory.groups, g)
	}
	g.members = slices.Clone(members)
}

// group returns a group by its address or id, nil if there is none.
func (d *directory) group(name string) *group {
	for _, g := range d.groups {
		if g.id == name || strings.EqualFold(g.email, name) {
			return g
		}
	}
	return nil
}

// listMembers is members.list.
func (s *Server) listMembers(q *request) (any, error) {
	most, err := q.number("maxResults", maxMembers, maxMembers)
	if err != nil {
		return nil, err
	}
	derived, err := q.flag("includeDerivedMembership")
	if err != nil {
		return nil, err
	}
	for role := range strings.SplitSeq(or(q.query.Get("roles"), "MEMBER"), ",") {
		if !slices.Contains([]string{"OWNER", "MANAGER", "MEMBER"}, role) {
			return nil, errValue("roles", role, "want OWNER, MANAGER or MEMBER")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !q.mayRead() {
		return nil, errNotAdmin()
	}
	g := s.directory.group(q.id)
	if g == nil {
		return nil, resourceNotFound("groupKey")
	}
	list := []object{}
	if q.query.Get("roles") == "" || strings.Contains(q.query.Get("roles"), "MEMBER") { // nobody has another role
		list = s.directory.members(g, derived, make(map[string]bool), list)
	}
	first, err := s.firstOf(q, len(list))
	if err != nil {
		return nil, err
	}
	last := min(first+most, len(list))
	answer := obj("kind", "admin#directory#members", "etag", `"members"`)
	if last > first {
		answer = append(answer, member{"members", list[first:last]})
	}
	if last < len(list) {
		answer = append(answer, member{"nextPageToken", s.pageToken(q, last)})
	}
	return answer, nil
}

// members appends the members of a group to list, with derived those of groups within it too, each once.
func (d *directory) members(g *group, derived bool, seen map[string]bool, list []object) []object {
	for _, name := range g.members {
		key := strings.ToLower(name)
		if seen[key] {
			continue
		}
		seen[key] = true
		if inner := d.group(name); inner != nil {
			list = append(list, showMember(inner.id, inner.email, "GROUP", "ACTIVE"))
			if derived {
				list = d.members(inner, derived, seen, list)
			}
			continue
		}
		a := d.find(name)
		switch {
		case a == nil: // somebody elsewhere
			list = append(list, showMember("", name, "USER", ""))
		case a.Suspended:
			list = append(list, showMember(a.ID, a.Email, "USER", "SUSPENDED"))
		default:
			list = append(list, showMember(a.ID, a.Email, "USER", "ACTIVE"))
		}
	}
	return list
}

func showMember(id, email, kind, status string) object {
	o := obj("kind", "admin#directory#member", "etag", `"member-`+email+`"`)
	if id != "" {
		o = append(o, member{"id", id})
	}
	o = append(o, obj("email", email, "role", "MEMBER", "type", kind)...)
	if status != "" {
		o = append(o, member{"status", status})
	}
	return o
}
