package ewstest

import "strings"

// A right is what one account may do with one mailbox.
type right struct {
	impersonate bool
	delegate    bool
}

// GrantImpersonation lets an account act in the name of the owners of mailboxes: it has the role ApplicationImpersonation
// for them. No mailbox means all that there are.
func (s *Server) GrantImpersonation(account string, mailboxes ...string) {
	s.grant(account, mailboxes, func(r *right) { r.impersonate = true })
}

// GrantDelegate lets an account open the folders of mailboxes in its own name.
func (s *Server) GrantDelegate(account string, mailboxes ...string) {
	s.grant(account, mailboxes, func(r *right) { r.delegate = true })
}

// Revoke takes all rights of an account on mailboxes away.
func (s *Server) Revoke(account string, mailboxes ...string) {
	s.grant(account, mailboxes, func(r *right) { *r = right{} })
}

func (s *Server) grant(account string, mailboxes []string, change func(*right)) {
	a := s.account(account)
	if a == nil {
		panic("ewstest: no account " + account)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, mb := range s.store.mailboxes {
		named := len(mailboxes) == 0 && mb.account.mailbox == mb
		for _, address := range mailboxes {
			named = named || mb.account.hasAddress(address)
		}
		if !named {
			continue
		}
		if s.store.rights[a] == nil {
			s.store.rights[a] = make(map[*Mailbox]*right)
		}
		if s.store.rights[a][mb] == nil {
			s.store.rights[a][mb] = &right{}
		}
		change(s.store.rights[a][mb])
	}
}

// impersonate finds out in whose name the request is, and whose mailbox it is about.
func (s *Server) impersonate(req *request) *fault {
	req.mailbox = req.user.mailbox
	who := req.header.find("ExchangeImpersonation", "ConnectingSID")
	if who == nil {
		return nil
	}
	name := strings.TrimSpace(who.kids[0].text)
	s.note(req.exchange, func(e *Request) { e.Mailbox = name })
	s.mu.Lock()
	defer s.mu.Unlock()
	owner := s.connecting(who.kids[0].name, name)
	if owner == nil || owner.mailbox == nil {
		return &fault{code: cmpOr(s.opts.UnknownUserCode, "ErrorNonExistentMailbox"), text: "The SMTP address has no mailbox associated with it."}
	}
	if r := s.store.rights[req.user][owner.mailbox]; owner != req.user && (r == nil || !r.impersonate) {
		return &fault{code: "ErrorImpersonateUserDenied", text: "The account does not have permission to impersonate the requested user."}
	}
	req.as, req.mailbox = owner.mailbox, owner.mailbox
	return nil
}

// checkMailboxVersion refuses a schema that is newer than the server on which the mailbox is.
func (s *Server) checkMailboxVersion(req *request) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.mailbox == nil || req.mailbox.opts.Version == "" {
		return nil
	}
	if p, _ := productNamed(req.mailbox.opts.Version); req.version > p.speaks {
		return &fault{
			code: "ErrorInvalidSchemaVersionForMailboxVersion",
			text: "The version of the schema cannot be used with the mailbox, which is on an older server.",
		}
	}
	return nil
}

// connecting finds the account that a child of ConnectingSID names. The caller holds the lock.
func (s *Server) connecting(kind, name string) *account {
	for _, a := range s.store.accounts {
		fits := false
		switch kind {
		case "PrincipalName":
			fits = strings.EqualFold(name, a.upn)
		case "SID":
			fits = strings.EqualFold(name, a.sid)
		case "PrimarySmtpAddress":
			fits = strings.EqualFold(name, a.address)
		case "SmtpAddress":
			fits = a.hasAddress(name)
		}
		if fits {
			return a
		}
	}
	return nil
}
