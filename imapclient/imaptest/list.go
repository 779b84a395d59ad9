package imaptest

import (
	"fmt"
	"slices"
	"strings"
)

// listing is what a LIST asks for.
type listing struct {
	patterns   []string
	subscribed bool     // only subscribed folders
	special    bool     // only folders with a special use
	parents    bool     // also folders above those that are selected (RECURSIVEMATCH)
	status     []string // items of RETURN (STATUS (...))

	tellSubscribed bool // RETURN (SUBSCRIBED), or a selection by it
}

// list obeys LIST, with the options and patterns of RFC 5258, RFC 5819 (LIST-STATUS) and RFC 6154 (SPECIAL-USE).
func (s *session) list(c *command) (string, error) {
	var want listing
	if err := c.space(); err != nil {
		return "", err
	}
	if c.peek() == '(' {
		if err := c.list(func() error { return s.selection(c, &want) }); err != nil {
			return "", err
		}
		if want.parents && !want.subscribed && !want.special { // RFC 5258, 3.1
			return "", syntaxf("RECURSIVEMATCH needs another selection option")
		}
		if err := c.space(); err != nil {
			return "", err
		}
	}
	reference, err := c.listArgs(&want)
	if err != nil {
		return "", err
	}
	if len(want.patterns) > 1 && s.server.without["LIST-EXTENDED"] {
		return "", syntaxf("only one pattern here")
	}
	if c.accept(' ') {
		word, err := c.atom()
		if err != nil || !strings.EqualFold(word, "RETURN") || c.space() != nil {
			return "", syntaxf("RETURN expected")
		}
		if err := c.list(func() error { return s.returns(c, &want) }); err != nil {
			return "", err
		}
	}
	if err := c.end(); err != nil {
		return "", err
	}
	s.answerList(reference, &want, "LIST")
	return "OK listed", nil
}

func (s *session) lsub(c *command) (string, error) {
	want := listing{subscribed: true}
	if err := c.space(); err != nil {
		return "", err
	}
	reference, err := c.listArgs(&want)
	if err != nil {
		return "", err
	}
	if err := c.end(); err != nil {
		return "", err
	}
	s.answerList(reference, &want, "LSUB")
	return "OK listed", nil
}

func (c *command) listArgs(want *listing) (reference string, err error) {
	if reference, err = c.astring(); err != nil {
		return "", err
	}
	if err := c.space(); err != nil {
		return "", err
	}
	item := func() error {
		p, err := c.pattern()
		want.patterns = append(want.patterns, p)
		return err
	}
	if c.peek() == '(' {
		return reference, c.list(item)
	}
	return reference, item()
}

// listOptions says which capability an option of LIST needs besides LIST-EXTENDED, if any.
var listOptions = map[string]string{
	"SUBSCRIBED": "", "REMOTE": "", "RECURSIVEMATCH": "", "CHILDREN": "CHILDREN", "SPECIAL-USE": "SPECIAL-USE",
}

// option reads the name of an option of LIST that the server knows.
func (s *session) option(c *command) (string, error) {
	word, err := c.atom()
	if err != nil {
		return "", err
	}
	word = strings.ToUpper(word)
	without := s.server.without
	needs, known := listOptions[word]
	switch {
	case word == "STATUS" && !without["LIST-STATUS"]: // RFC 5819 stands alone
	case !known, without["LIST-EXTENDED"], without[needs]:
		return "", syntaxf("unknown option %s", word)
	}
	return word, nil
}

func (s *session) selection(c *command, want *listing) error {
	word, err := s.option(c)
	if err != nil {
		return err
	}
	switch word {
	case "SUBSCRIBED":
		want.subscribed, want.tellSubscribed = true, true
	case "SPECIAL-USE":
		want.special = true
	case "RECURSIVEMATCH":
		want.parents = true
	case "REMOTE": // there are none
	default:
		return syntaxf("%s is no selection option", word)
	}
	return nil
}

func (s *session) returns(c *command, want *listing) error {
	word, err := s.option(c)
	if err != nil {
		return err
	}
	switch word {
	case "SPECIAL-USE", "CHILDREN": // told in any case
	case "SUBSCRIBED":
		want.tellSubscribed = true
	case "STATUS":
		if err := c.space(); err != nil {
			return err
		}
		want.status, err = s.statusItems(c)
		return err
	default:
		return syntaxf("%s is no return option", word)
	}
	return nil
}

// selects reports whether the selection options let f through.
func (want *listing) selects(f *folder) bool {
	return (!want.subscribed || f.subscribed) && (!want.special || slices.ContainsFunc(f.attrs, isSpecialUse))
}

func (s *session) answerList(reference string, want *listing, word string) {
	srv := s.server
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delimiter := "NIL"
	if srv.opts.Delimiter != "" {
		delimiter = quote(srv.opts.Delimiter)
	}
	if len(want.patterns) == 1 && want.patterns[0] == "" { // RFC 3501, 6.3.8: asks for the delimiter
		s.line(`* %s (\Noselect) %s ""`, word, delimiter)
		return
	}
	for _, f := range srv.store.sorted() {
		matches := slices.ContainsFunc(want.patterns, func(p string) bool {
			return matchPattern(reference+p, f.name, srv.opts.Delimiter)
		})
		if !matches || f.name == "INBOX" && srv.opts.Quirks.InboxUnlisted {
			continue
		}
		// RFC 5258, 3.5: a child that the selection lets through and the pattern does not is told of at its parent.
		child := ""
		if want.parents && want.subscribed && srv.store.hasBelow(f.name, want.selects) {
			child = ` ("CHILDINFO" ("SUBSCRIBED"))`
		}
		if !want.selects(f) && child == "" {
			continue
		}
		attrs := s.attributes(f)
		if want.tellSubscribed && f.subscribed {
			attrs = append(attrs, `\Subscribed`)
		}
		s.line("* %s (%s) %s %s%s", word, strings.Join(attrs, " "), delimiter, mailboxName(f.name), child)
		if want.status != nil && !f.noSelect {
			s.line("* STATUS %s (%s)", mailboxName(f.name), s.statusOf(f, want.status))
		}
	}
}

// attributes returns a folder's attributes in LIST. The caller holds the server's lock.
func (s *session) attributes(f *folder) []string {
	attrs := f.attrs
	if s.server.without["SPECIAL-USE"] {
		attrs = slices.DeleteFunc(slices.Clone(attrs), isSpecialUse)
	}
	attrs = slices.Clip(attrs)
	switch {
	case s.server.without["CHILDREN"]:
		return attrs
	case s.server.store.children(f.name):
		return append(attrs, `\HasChildren`)
	}
	return append(attrs, `\HasNoChildren`)
}

func isSpecialUse(attr string) bool {
	switch strings.ToLower(attr) {
	case `\all`, `\archive`, `\drafts`, `\flagged`, `\junk`, `\sent`, `\trash`, `\important`:
		return true
	}
	return false
}

// matchPattern matches a folder's name against a pattern in which * stands for anything and % for anything within a
// level. Time is bounded by the product of the lengths, whatever the pattern.
func matchPattern(pattern, name, delimiter string) bool {
	if strings.EqualFold(pattern, "INBOX") {
		pattern = "INBOX"
	}
	// can[j] says whether the pattern so far matches name[:j].
	can := make([]bool, len(name)+1)
	can[0] = true
	for i := range len(pattern) {
		wild := pattern[i] == '*' || pattern[i] == '%'
		if wild {
			for j := range len(name) {
				if can[j] && (pattern[i] == '*' || delimiter == "" || name[j] != delimiter[0]) {
					can[j+1] = true
				}
			}
			continue
		}
		for j := len(name); j > 0; j-- {
			can[j] = can[j-1] && pattern[i] == name[j-1]
		}
		can[0] = false
	}
	return can[len(name)]
}

// quote writes a quoted string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// literal writes a literal.
func literal(s string) string { return fmt.Sprintf("{%d}\r\n%s", len(s), s) }

// mailboxName writes a folder's name as it is on the wire: quoted, or a literal if it holds what a quoted string
// cannot.
func mailboxName(name string) string {
	if strings.ContainsAny(name, "\r\n") {
		return literal(name)
	}
	return quote(name)
}
