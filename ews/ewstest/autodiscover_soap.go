package ewstest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// userSettings are those that may be asked for.
var userSettings = map[string]bool{
	"ExternalEwsUrl": true, "InternalEwsUrl": true, "EwsSupportedSchemas": true, "GroupingInformation": true, "AlternateMailboxes": true,
	"PublicFolderInformation": true, "AutoDiscoverSMTPAddress": true, "UserDisplayName": true, "UserDN": true, "UserDeploymentId": true,
	"CasVersion": true, "EwsPartnerUrl": true, "MobileMailboxPolicy": true, "ExternalEwsVersion": true, "InternalServerExclusiveConnect": true,
}

const actionGetUserSettings = nsAutodiscover + "/Autodiscover/GetUserSettings"

// getUserSettings answers SOAP autodiscover.
func (s *Server) getUserSettings(req *request) *reply {
	users, settings, err := readGetUserSettings(req)
	if err != nil {
		s.refuse(req.exchange, err.Error())
		return &reply{status: http.StatusInternalServerError, whole: s.discoEnvelope((&node{space: nsSOAP, name: "Fault"}).add(
			(&node{name: "faultcode"}).say("Client"), (&node{name: "faultstring"}).say(err.Error())))}
	}
	host, code := hostName(req.r), "NoError"
	responses := disco("UserResponses")
	for _, address := range users {
		a := s.answer(host, address)
		if a.RequestCode != "" {
			code = a.RequestCode
		}
		responses.add(userResponse(address, a, settings))
	}
	response := disco("Response", disco("ErrorCode").say(code), disco("ErrorMessage").say(errorMessage(code)), responses)
	if code != "NoError" {
		responses.kids = nil
	}
	return &reply{whole: s.discoEnvelope(disco("GetUserSettingsResponseMessage", response))}
}

func errorMessage(code string) string {
	if code == "NoError" {
		return "No error."
	}
	return "The server says " + code + "."
}

// readGetUserSettings holds a request against the schema of autodiscover.
func readGetUserSettings(req *request) (users, settings []string, err error) {
	doc := req.op
	if doc.space != nsSOAP || doc.name != "Envelope" {
		return nil, nil, fmt.Errorf("the root is %s", doc.name)
	}
	if err := inOrder(doc, nsSOAP, "Header", "Body"); err != nil {
		return nil, nil, err
	}
	head, url := doc.child("Header"), "https://"+req.r.Host+req.r.URL.Path
	version, action, to := head.child("RequestedServerVersion"), head.child("Action"), head.child("To")
	switch {
	case version == nil || version.space != nsAutodiscover || !slices.Contains(versionNames[v2010:], head.value("RequestedServerVersion")):
		return nil, nil, fmt.Errorf("the header RequestedServerVersion is missing or wrong: %q", head.value("RequestedServerVersion"))
	case action == nil || action.space != nsAddressing || head.value("Action") != actionGetUserSettings:
		return nil, nil, fmt.Errorf("the header Action is missing or wrong: %q", head.value("Action"))
	case to == nil || to.space != nsAddressing || !strings.EqualFold(head.value("To"), url):
		return nil, nil, fmt.Errorf("the header To is %q, want %q", head.value("To"), url)
	}
	if err := inOrder(doc.child("Body"), nsAutodiscover, "GetUserSettingsRequestMessage"); err != nil {
		return nil, nil, err
	}
	message := doc.find("Body", "GetUserSettingsRequestMessage")
	if err := inOrder(message, nsAutodiscover, "Request"); err != nil {
		return nil, nil, err
	}
	request := message.child("Request")
	if err := inOrder(request, nsAutodiscover, "Users", "RequestedSettings", "RequestedVersion?"); err != nil {
		return nil, nil, err
	}
	if err := inOrder(request.child("Users"), nsAutodiscover, "User+"); err != nil {
		return nil, nil, err
	}
	for _, u := range request.child("Users").kids {
		if err := inOrder(u, nsAutodiscover, "Mailbox"); err != nil {
			return nil, nil, err
		}
		users = append(users, u.value("Mailbox"))
	}
	if err := inOrder(request.child("RequestedSettings"), nsAutodiscover, "Setting+"); err != nil {
		return nil, nil, err
	}
	for _, n := range request.child("RequestedSettings").kids {
		name := strings.TrimSpace(n.text)
		if !userSettings[name] {
			return nil, nil, fmt.Errorf("the setting %q is not known", name)
		}
		settings = append(settings, name)
	}
	return users, settings, nil
}

// userResponse says what is known of one user.
func userResponse(address string, a Answer, settings []string) *node {
	code, target := "NoError", ""
	switch {
	case a.Code != "":
		code = a.Code
	case a.RedirectAddress != "":
		code, target = "RedirectAddress", a.RedirectAddress
	case a.RedirectURL != "":
		code, target = "RedirectUrl", a.RedirectURL
	}
	n := disco("UserResponse", disco("ErrorCode").say(code), disco("ErrorMessage").say(errorMessage(code)))
	redirect := disco("RedirectTarget").say(target)
	if target == "" {
		redirect.attrs = append(redirect.attrs, attr{nsInstance, "nil", "true"})
	}
	n.add(redirect)
	if code != "NoError" {
		return n.add(disco("UserSettingErrors"), disco("UserSettings"))
	}
	failed, found := disco("UserSettingErrors"), disco("UserSettings")
	values := map[string]string{
		"ExternalEwsUrl": a.External, "InternalEwsUrl": a.Internal, "EwsSupportedSchemas": a.Schemas, "GroupingInformation": a.Group,
		"PublicFolderInformation": a.PublicFolders, "AutoDiscoverSMTPAddress": cmpOr(a.Address, address),
	}
	for _, name := range settings {
		switch {
		case name == "AlternateMailboxes" && len(a.Alternates) > 0:
			list := disco("AlternateMailboxes")
			for _, alt := range a.Alternates {
				list.add(disco("AlternateMailbox", disco("Type").say(alt.Type), disco("DisplayName").say(alt.Display), disco("LegacyDN"),
					disco("Server").say(alt.Server), disco("SmtpAddress").say(alt.Address), disco("OwnerSmtpAddress").say(alt.Owner)))
			}
			found.add(typed("AlternateMailboxCollectionSetting", disco("Name").say(name), list))
		case values[name] == "" || slices.Contains(a.Missing, name):
			failed.add(disco("UserSettingError", disco("SettingName").say(name), disco("ErrorCode").say("SettingIsNotAvailable"),
				disco("ErrorMessage").say("The setting is not available.")))
		default:
			found.add(typed("StringSetting", disco("Name").say(name), disco("Value").say(values[name])))
		}
	}
	return n.add(failed, found)
}

func typed(kind string, kids ...*node) *node {
	n := disco("UserSetting", kids...)
	n.attrs = []attr{{nsInstance, "type", kind}}
	return n
}

// discoEnvelope is that of autodiscover, whose ServerVersionInfo has elements in place of attributes.
func (s *Server) discoEnvelope(body *node) *node {
	p := s.product
	number := func(name string, n int) *node { return disco(name).say(strconv.Itoa(n)) }
	head := (&node{space: nsSOAP, name: "Header"}).add(
		(&node{space: nsAddressing, name: "Action"}).say(actionGetUserSettings+"Response"),
		disco("ServerVersionInfo", number("MajorVersion", p.major), number("MinorVersion", p.minor), number("MajorBuildNumber", p.build),
			number("MinorBuildNumber", p.revn), disco("Version").say(p.speaks.String())))
	return (&node{space: nsSOAP, name: "Envelope"}).add(head, (&node{space: nsSOAP, name: "Body"}).add(body))
}
