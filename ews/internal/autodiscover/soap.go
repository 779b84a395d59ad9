package autodiscover

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

const (
	soapNamespace     = "http://schemas.microsoft.com/exchange/2010/Autodiscover"
	getUserSettings   = soapNamespace + "/Autodiscover/GetUserSettings"
	soapServerVersion = "Exchange2010" // the oldest that has SOAP autodiscover; the answer does not depend on it
)

// requested are the settings that are asked for; an answer with more takes the server longer.
var requested = []string{
	"ExternalEwsUrl", "InternalEwsUrl", "EwsSupportedSchemas", "GroupingInformation", "AlternateMailboxes",
	"PublicFolderInformation", "AutoDiscoverSMTPAddress",
}

// soapRequest returns the body of GetUserSettings for the mailboxes.
func soapRequest(to *url.URL, mailboxes ...string) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n" +
		`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:a="` + soapNamespace + `">` +
		`<s:Header><a:RequestedServerVersion>` + soapServerVersion + `</a:RequestedServerVersion>` +
		`<wsa:Action>` + getUserSettings + `</wsa:Action><wsa:To>` + escape(to.String()) + `</wsa:To></s:Header>` +
		`<s:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users>`)
	for _, mailbox := range mailboxes {
		b.WriteString(`<a:User><a:Mailbox>` + escape(mailbox) + `</a:Mailbox></a:User>`)
	}
	b.WriteString(`</a:Users><a:RequestedSettings>`)
	for _, name := range requested {
		b.WriteString(`<a:Setting>` + name + `</a:Setting>`)
	}
	b.WriteString(`</a:RequestedSettings></a:Request></a:GetUserSettingsRequestMessage></s:Body></s:Envelope>`)
	return []byte(b.String())
}

// parseSOAP reads the answer to GetUserSettings: one answer for each mailbox, in their order. The error codes of the whole
// request become that of each.
func parseSOAP(data []byte, mailboxes int) ([]answer, error) {
	root, err := parse(data)
	if err != nil {
		return nil, err
	}
	body := root.kid("Body")
	if root.name != "Envelope" || body == nil {
		return nil, fmt.Errorf("the answer is no SOAP envelope but %q", clean(root.name))
	}
	if fault := body.kid("Fault"); fault != nil {
		return nil, fmt.Errorf("soap fault: %s", clean(firstOf(fault.value("faultstring"), fault.value("Reason", "Text"), fault.value("faultcode"), "without a text")))
	}
	response := body.kid("GetUserSettingsResponseMessage", "Response")
	if response == nil {
		return nil, fmt.Errorf("the answer holds no response to GetUserSettings")
	}
	users := response.kid("UserResponses").all("UserResponse")
	if code := response.value("ErrorCode"); code != "" && code != "NoError" {
		return repeated(soapVerdict(code, response.value("ErrorMessage"), ""), mailboxes), nil
	}
	if len(users) != mailboxes {
		return nil, fmt.Errorf("the answer is about %d mailboxes, want %d", len(users), mailboxes)
	}
	answers := make([]answer, 0, len(users))
	for _, user := range users {
		code := user.value("ErrorCode")
		if code != "" && code != "NoError" {
			answers = append(answers, soapVerdict(code, user.value("ErrorMessage"), user.value("RedirectTarget")))
			continue
		}
		answers = append(answers, answer{verdict: settingsFound, settings: soapSettings(user)})
	}
	return answers, nil
}

func repeated(a answer, times int) []answer {
	all := make([]answer, times)
	for i := range all {
		all[i] = a
	}
	return all
}

// soapVerdict says what an ErrorCode means.
func soapVerdict(code, text, target string) answer {
	a := answer{code: clean(code), text: clean(text), target: target}
	switch code {
	case "RedirectAddress":
		a.verdict = redirectAddress
	case "RedirectUrl":
		a.verdict = redirectURL
	case "InvalidUser":
		a.verdict, a.kind = noMailbox, connection.ErrNotFound
	case "InvalidDomain":
		a.verdict, a.kind = noDomain, connection.ErrNotFound
	case "ServerBusy":
		a.verdict, a.kind = busy, connection.ErrUnavailable
	case "InternalServerError":
		a.verdict, a.kind = failed, connection.ErrUnavailable
	default: // InvalidRequest, InvalidSetting, NotFederated
		a.verdict, a.kind = failed, connection.ErrProtocol
	}
	return a
}

// soapSettings reads the settings of one user. What is missing is: SettingIsNotAvailable is harmless.
func soapSettings(user *node) settings {
	var s settings
	for _, setting := range user.kid("UserSettings").all("UserSetting") {
		value := setting.value("Value")
		switch setting.value("Name") {
		case "ExternalEwsUrl":
			s.external = value
		case "InternalEwsUrl":
			s.internal = value
		case "EwsSupportedSchemas":
			s.schemas = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		case "GroupingInformation":
			s.group = value
		case "PublicFolderInformation":
			s.publicFolders = value
		case "AutoDiscoverSMTPAddress":
			s.address = value
		case "AlternateMailboxes":
			for _, m := range setting.kid("AlternateMailboxes").all("AlternateMailbox") {
				s.alternates = append(s.alternates, Alternate{
					Type: m.value("Type"), Display: m.value("DisplayName"), Address: m.value("SmtpAddress"), Owner: m.value("OwnerSmtpAddress"),
				})
			}
		}
	}
	return s
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
