package ewstest

import (
	"slices"
	"strconv"
	"strings"
)

const resolveCap = 100 // names that ResolveNames tells at most

// person is what the directory tells of an account or a group.
func person(name, address, kind string) *node {
	return typ("Mailbox", typ("Name").say(name), typ("EmailAddress").say(address), typ("RoutingType").say("SMTP"), typ("MailboxType").say(kind))
}

// people are all that the directory has, by their addresses.
func (s *Server) people() []*node {
	var all []*node
	for _, a := range s.store.accounts {
		if a.mailbox != nil && !a.mailbox.opts.Unlisted {
			all = append(all, person(cmpOr(a.mailbox.opts.Display, a.address), a.address, "Mailbox"))
		}
	}
	for _, g := range s.store.groups {
		all = append(all, person(cmpOr(g.Name, g.Address), g.Address, "PublicDL"))
	}
	slices.SortFunc(all, func(a, b *node) int { return strings.Compare(a.value("EmailAddress"), b.value("EmailAddress")) })
	return all
}

// opResolveNames is ResolveNames: what begins with the entry, in the name or in the address.
func opResolveNames(s *Server, req *request) *reply {
	entry := strings.ToLower(req.op.value("UnresolvedEntry"))
	entry = strings.TrimPrefix(entry, "smtp:")
	set := msg("ResolutionSet")
	total := 0
	for _, p := range s.people() {
		name, address := strings.ToLower(p.value("Name")), strings.ToLower(p.value("EmailAddress"))
		if !strings.HasPrefix(name, entry) && !strings.HasPrefix(address, entry) {
			continue
		}
		if total++; total <= resolveCap {
			set.add(typ("Resolution", p))
		}
	}
	set.with("TotalItemsInView", strconv.Itoa(len(set.kids))).with("IncludesLastItemInRange", strconv.FormatBool(total <= resolveCap))
	switch {
	case total == 0:
		return req.answer(req.failure(&fault{code: "ErrorNameResolutionNoResults", text: "No results were found."}))
	case total > 1:
		n := req.success(set)
		n.attrs[0].value = "Warning"
		n.kids = append([]*node{msg("MessageText").say("Multiple results were found.")}, n.kids...)
		n.child("ResponseCode").text = "ErrorNameResolutionMultipleResults"
		return req.answer(n)
	}
	return req.answer(req.success(set))
}

// opExpandDL is ExpandDL: one level.
func opExpandDL(s *Server, req *request) *reply {
	address := req.op.value("Mailbox", "EmailAddress")
	g := s.store.groups[strings.ToLower(address)]
	if g == nil {
		return req.answer(req.failure(&fault{code: "ErrorNameResolutionNoResults", text: "No results were found."}))
	}
	expansion := msg("DLExpansion")
	for _, member := range g.Members {
		if g.Hidden {
			break
		}
		kind, name := "Mailbox", member
		if s.store.groups[strings.ToLower(member)] != nil {
			kind = "PublicDL"
		} else if s.connecting("SmtpAddress", member) == nil {
			kind = "Contact"
		}
		expansion.add(person(name, member, kind))
	}
	expansion.with("TotalItemsInView", strconv.Itoa(len(expansion.kids))).with("IncludesLastItemInRange", "true")
	return req.answer(req.success(expansion))
}

// opGetSearchableMailboxes is GetSearchableMailboxes, for whom [Server.GrantDiscovery] names.
func opGetSearchableMailboxes(s *Server, req *request) *reply {
	n := msg(req.name+"Response").with("ResponseClass", "Success")
	if !s.store.discovery[req.user] {
		return &reply{body: msg(req.name+"Response", msg("MessageText").say("The caller has no role to search mailboxes."),
			msg("ResponseCode").say("ErrorAccessDenied"), msg("DescriptiveLinkKey").say("0")).with("ResponseClass", "Error")}
	}
	filter := strings.ToLower(req.op.value("SearchFilter"))
	found, failed := msg("SearchableMailboxes"), msg("FailedMailboxes")
	for i, a := range s.store.accounts {
		if a.mailbox == nil || !strings.HasPrefix(strings.ToLower(a.address), filter) {
			continue
		}
		guid := "00000000-0000-0000-0000-" + strings.Repeat("0", 12-len(strconv.Itoa(i))) + strconv.Itoa(i)
		if code := a.mailbox.opts.Fault; code != "" {
			failed.add(typ("FailedMailbox", typ("Mailbox").say(a.address), typ("ErrorCode").say("1"), typ("ErrorMessage").say(code), truth("IsArchive", false)))
			continue
		}
		found.add(typ("SearchableMailbox", typ("Guid").say(guid), typ("PrimarySmtpAddress").say(a.address), truth("IsExternalMailbox", false),
			typ("ExternalEmailAddress"), typ("DisplayName").say(cmpOr(a.mailbox.opts.Display, a.address)), truth("IsMembershipGroup", false),
			typ("ReferenceId").say("/o=corp/cn="+a.sam)))
	}
	n.add(msg("ResponseCode").say("NoError"), found)
	if len(failed.kids) > 0 {
		n.add(failed)
	}
	return &reply{body: n}
}

// opFindPeople is FindPeople: pages of the global address list.
func opFindPeople(s *Server, req *request) *reply {
	query := strings.ToLower(req.op.value("QueryString"))
	var found []*node
	for _, p := range s.people() {
		if strings.Contains(strings.ToLower(p.value("Name")+" "+p.value("EmailAddress")), query) {
			found = append(found, p)
		}
	}
	offset, limit, bad := viewOf(req.op.child("IndexedPageItemView"), len(found))
	if bad != nil {
		return &reply{body: msg("FindPeopleResponse", msg("MessageText").say(bad.text), msg("ResponseCode").say(bad.code)).with("ResponseClass", "Error")}
	}
	begin := min(offset, len(found))
	end := min(len(found), begin+min(limit, findCap))
	people := msg("People")
	for _, p := range found[begin:end] {
		kind := "Person"
		if p.value("MailboxType") == "PublicDL" {
			kind = "DistributionList"
		}
		people.add(typ("Persona", typ("PersonaId").with("Id", s.personaID(p)), typ("PersonaType").say(kind), typ("DisplayName").say(p.value("Name")),
			typ("EmailAddress", p.kids...)))
	}
	return &reply{body: msg("FindPeopleResponse", msg("ResponseCode").say("NoError"), people,
		msg("TotalNumberOfPeopleInView").say(strconv.Itoa(len(found))), msg("FirstMatchingRowIndex").say(strconv.Itoa(begin)),
		msg("FirstLoadedRowIndex").say(strconv.Itoa(begin))).with("ResponseClass", "Success")}
}

func (s *Server) personaID(p *node) string {
	h := uint64(14695981039346656037)
	for _, c := range []byte(p.value("EmailAddress")) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return s.id(personIDs, 0, h)
}

// opConvertId is ConvertId between EwsId and EwsId; ids of other formats are the hexadecimal of those.
func opConvertId(s *Server, req *request) *reply { //nolint:revive,staticcheck // the operation's name
	var messages []*node
	for _, id := range req.op.child("SourceIds").children() {
		format := req.op.attr("DestinationFormat")
		if id.name != "AlternateId" || id.attr("Format") != "EwsId" || format != "EwsId" && format != "HexEntryId" {
			messages = append(messages, req.failure(&fault{code: "ErrorInvalidIdFormat", text: "This server converts ids of the format EwsId only."}))
			continue
		}
		text := id.attr("Id")
		if _, _, _, ok := s.parseID(text); !ok {
			messages = append(messages, req.failure(&fault{code: "ErrorInvalidIdMalformed", text: "Id is malformed."}))
			continue
		}
		if format == "HexEntryId" {
			text = hexID(text)
		}
		n := msg("AlternateId").with("Format", format).with("Id", text).with("Mailbox", id.attr("Mailbox"))
		n.attrs = append(n.attrs, attr{nsInstance, "type", "t:AlternateIdType"})
		messages = append(messages, req.success(n))
	}
	return req.answer(messages...)
}
