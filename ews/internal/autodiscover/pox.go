package autodiscover

import (
	"fmt"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// poxRequest returns the body of the older, plain XML request.
func poxRequest(mailbox string) []byte {
	const schemas = "http://schemas.microsoft.com/exchange/autodiscover/outlook/"
	return []byte(`<?xml version="1.0" encoding="utf-8"?>` + "\n" +
		`<Autodiscover xmlns="` + schemas + `requestschema/2006"><Request><EMailAddress>` + escape(mailbox) + `</EMailAddress>` +
		`<AcceptableResponseSchema>` + schemas + `responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>`)
}

// parsePOX reads the answer to poxRequest. Errors come with HTTP 200 too.
func parsePOX(data []byte) (answer, error) {
	root, err := parse(data)
	if err != nil {
		return answer{}, err
	}
	if root.name != "Autodiscover" {
		return answer{}, fmt.Errorf("the answer is no autodiscover document but %q", clean(root.name))
	}
	response := root.kid("Response")
	account := response.kid("Account")
	if e := firstNode(response.kid("Error"), root.kid("Error"), account.kid("Error")); e != nil {
		// 500: the address is not known; 600: invalid request; 601: no provider; 404: as some servers say of an unknown mailbox.
		return answer{
			verdict: noAccount, kind: connection.ErrNotFound, code: clean(e.value("ErrorCode")),
			text: clean(firstOf(e.value("Message"), e.value("DebugData"))),
		}, nil
	}
	if account == nil {
		return answer{}, fmt.Errorf("the answer holds neither an account nor an error")
	}
	switch action := account.value("Action"); {
	case strings.EqualFold(action, "redirectAddr"):
		return answer{verdict: redirectAddress, code: action, target: account.value("RedirectAddr")}, nil
	case strings.EqualFold(action, "redirectUrl"):
		return answer{verdict: redirectURL, code: action, target: account.value("RedirectUrl")}, nil
	case action != "" && !strings.EqualFold(action, "settings"):
		return answer{}, fmt.Errorf("the answer wants the unknown action %q", clean(action))
	}
	return answer{verdict: settingsFound, settings: poxSettings(response, account)}, nil
}

func firstNode(nodes ...*node) *node {
	for _, n := range nodes {
		if n != nil {
			return n
		}
	}
	return nil
}

// poxSettings reads the settings of an account: EXCH is how the mailbox is reached from inside, EXPR from outside, EXHTTP
// (2013 and later) either, and WEB repeats them further down.
func poxSettings(response, account *node) settings {
	s := settings{address: response.value("User", "AutoDiscoverSMTPAddress"), publicFolders: account.value("PublicFolderInformation", "SmtpAddress")}
	var nested settings
	for _, protocol := range account.all("Protocol") {
		u := firstOf(protocol.value("EwsUrl"), protocol.value("ASUrl"))
		switch protocol.value("Type") {
		case "EXCH":
			s.internal = firstOf(s.internal, u)
			s.group = firstOf(s.group, protocol.value("GroupingInformation"))
		case "EXPR":
			s.external = firstOf(s.external, u)
			s.group = firstOf(s.group, protocol.value("GroupingInformation"))
		case "EXHTTP":
			nested.external = firstOf(nested.external, u)
		case "WEB":
			nested.external = firstOf(nested.external, u, protocol.value("External", "Protocol", "ASUrl"))
			nested.internal = firstOf(nested.internal, protocol.value("Internal", "Protocol", "ASUrl"))
		}
	}
	s.external, s.internal = firstOf(s.external, nested.external), firstOf(s.internal, nested.internal)
	for _, m := range append(account.all("AlternativeMailbox"), response.all("AlternativeMailbox")...) {
		s.alternates = append(s.alternates, Alternate{
			Type: m.value("Type"), Display: m.value("DisplayName"), Address: m.value("SmtpAddress"), Owner: m.value("OwnerSmtpAddress"),
		})
	}
	return s
}
