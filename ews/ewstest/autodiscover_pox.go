package ewstest

import "strings"

// pox answers autodiscover by plain old XML. Its errors come with HTTP 200.
func (s *Server) pox(req *request) *reply {
	doc := req.op
	err := inOrder(doc, nsPOXRequest, "Request")
	if err == nil {
		err = inOrder(doc.child("Request"), nsPOXRequest, "EMailAddress", "AcceptableResponseSchema")
	}
	if err != nil || doc.name != "Autodiscover" || doc.space != nsPOXRequest || doc.value("Request", "AcceptableResponseSchema") != nsPOXOutlook {
		why := "the schema, or that of the answer, is not the one of Outlook"
		if err != nil {
			why = err.Error()
		}
		s.refuse(req.exchange, why)
		return poxError("600", "Invalid Request")
	}
	address := doc.value("Request", "EMailAddress")
	a := s.answer(hostName(req.r), address)
	switch code := a.Code; {
	case code == "InvalidUser" || code == "InvalidDomain":
		return poxError("404", "The email address can't be found.")
	case code != "":
		return poxError(code, "The server says "+code+".")
	case a.RequestCode != "":
		return poxError(a.RequestCode, "The server says "+a.RequestCode+".")
	}
	account := outlook("Account", outlook("AccountType").say("email"))
	switch {
	case a.RedirectAddress != "":
		account.add(outlook("Action").say("redirectAddr"), outlook("RedirectAddr").say(a.RedirectAddress))
	case a.RedirectURL != "":
		account.add(outlook("Action").say("redirectUrl"), outlook("RedirectUrl").say(a.RedirectURL))
	default:
		account.add(outlook("Action").say("settings"))
		account.add(protocol("EXCH", a.Internal, a.OldNames), protocol("EXPR", a.External, a.OldNames), protocol("EXHTTP", a.External, a.OldNames))
		account.add(outlook("Protocol", outlook("Type").say("WEB"), outlook("External")))
	}
	user := outlook("User", outlook("DisplayName").say(address), outlook("LegacyDN").say("/o=corp/cn="+address),
		outlook("AutoDiscoverSMTPAddress").say(cmpOr(a.Address, address)))
	root := &node{space: nsPOXError, name: "Autodiscover"}
	return &reply{whole: root.add(outlook("Response", user, account))}
}

// outlook returns an element of the answers that Outlook knows.
func outlook(name string, kids ...*node) *node {
	return (&node{space: nsPOXOutlook, name: name}).add(kids...)
}

// protocol tells a URL, nil if there is none.
func protocol(kind, url string, old bool) *node {
	if url == "" {
		return nil
	}
	server, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	n := outlook("Protocol", outlook("Type").say(kind), outlook("Server").say(server))
	if old {
		return n.add(outlook("ASUrl").say(url))
	}
	return n.add(outlook("ASUrl").say("https://"+server+"/wrong/if/there/is/EwsUrl"), outlook("EwsUrl").say(url))
}

func poxError(code, text string) *reply {
	plain := func(name string) *node { return &node{space: nsPOXError, name: name} }
	failure := plain("Error").with("Time", "10:00:00.0000000").with("Id", "1").add(plain("ErrorCode").say(code), plain("Message").say(text), plain("DebugData"))
	return &reply{whole: plain("Autodiscover").add(plain("Response").add(failure))}
}
