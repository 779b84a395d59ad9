package ewstest

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
)

// Autodiscover is how a server answers autodiscover. The zero value knows the mailboxes of the server, and names
// https://exchange.<their domain>/EWS/Exchange.asmx for all of them.
type Autodiscover struct {
	NoSOAP, NoPOX bool // answer 404; SOAP is there from Exchange 2010 on
	// NoExternal leaves the external URL out of default answers, and Internal is their internal URL; "" = none.
	NoExternal bool
	Internal   string
}

// An Answer is what autodiscover says about an address. See [Server.SetAnswer].
type Answer struct {
	External, Internal string // URLs of EWS; "" is told as missing
	OldNames           bool   // POX tells the URLs as ASUrl, not as EwsUrl
	Address            string // AutoDiscoverSMTPAddress; "" = as asked
	Schemas            string // EwsSupportedSchemas
	Group              string // GroupingInformation
	PublicFolders      string // PublicFolderInformation
	Alternates         []Alternate

	RedirectAddress, RedirectURL string // in place of settings
	// Code is the error of the user (SOAP: InvalidUser, InvalidDomain, ServerBusy, InternalServerError…; POX: 500, 600…).
	Code string
	// RequestCode is SOAP's error of the whole request: InvalidRequest, ServerBusy, NotFederated…
	RequestCode string
	// Missing are settings that are told as SettingIsNotAvailable.
	Missing []string
	// Times gives this answer so often, and then the usual one; 0 = always.
	Times int
}

// An Alternate is a further mailbox of a user, such as the archive.
type Alternate struct {
	Type    string // "Archive", "Delegate", "TeamMailbox"
	Display string
	Address string // SmtpAddress
	Owner   string // OwnerSmtpAddress
	Server  string
}

// answers is the part of a Server that knows what autodiscover says.
type answers struct {
	mu    sync.Mutex
	given map[answerKey]Answer
	used  map[answerKey]int
}

type answerKey struct{ host, address string }

// SetAnswer changes what autodiscover says at a host about an address; "*" stands for all hosts, and for all addresses. What
// fits best wins, an address before a host.
func (s *Server) SetAnswer(host, address string, a Answer) {
	s.answers.mu.Lock()
	defer s.answers.mu.Unlock()
	if s.answers.given == nil {
		s.answers.given, s.answers.used = make(map[answerKey]Answer), make(map[answerKey]int)
	}
	key := answerKey{strings.ToLower(host), strings.ToLower(address)}
	s.answers.given[key] = a
	delete(s.answers.used, key)
}

// answer returns what is to be said at a host about an address.
func (s *Server) answer(host, address string) Answer {
	address = strings.ToLower(address)
	s.answers.mu.Lock()
	for _, key := range []answerKey{{host, address}, {"*", address}, {host, "*"}, {"*", "*"}} {
		a, ok := s.answers.given[key]
		if !ok || a.Times > 0 && s.answers.used[key] >= a.Times {
			continue
		}
		s.answers.used[key]++
		s.answers.mu.Unlock()
		return a
	}
	s.answers.mu.Unlock()
	return s.usualAnswer(address)
}

func (s *Server) usualAnswer(address string) Answer {
	_, domain, _ := strings.Cut(address, "@")
	a := s.account(address)
	switch {
	case a == nil && !s.knowsDomain(domain):
		return Answer{Code: "InvalidDomain"}
	case a == nil || a.mailbox == nil:
		return Answer{Code: "InvalidUser"}
	}
	usual := Answer{Internal: s.opts.Autodiscover.Internal, Address: a.address, Schemas: strings.Join(versionNames[:s.product.speaks+1], ", "), Group: "Default-First-Site-Name"}
	if !s.opts.Autodiscover.NoExternal {
		usual.External = "https://exchange." + domain + "/EWS/Exchange.asmx"
	}
	return usual
}

func (s *Server) knowsDomain(domain string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.store.accounts {
		if _, own, _ := strings.Cut(a.address, "@"); strings.EqualFold(own, domain) {
			return true
		}
	}
	return false
}

// Paths of autodiscover, in lower case.
const (
	soapPath = "/autodiscover/autodiscover.svc"
	poxPath  = "/autodiscover/autodiscover.xml"
)

// serveAutodiscover answers a request below /autodiscover/.
func (s *Server) serveAutodiscover(w http.ResponseWriter, r *http.Request) {
	path := strings.ToLower(r.URL.Path)
	x := s.newExchange(w, r)
	if !connOf(r.Context()).secure {
		s.servePlain(x, path)
		return
	}
	a := &s.opts.Autodiscover
	if path != soapPath && path != poxPath || path == soapPath && (a.NoSOAP || s.product.speaks < v2010) || path == poxPath && a.NoPOX {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, s.opts.MaxRequest)) // the answer is the same if the client is gone
		page(x.w, http.StatusNotFound, "The resource cannot be found.")
		return
	}
	if !s.authenticate(x.w, x) {
		return
	}
	s.note(x, func(e *Request) { e.User = x.user.address })
	if r.Method != http.MethodPost {
		page(x.w, http.StatusOK, "You have created a service.")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, r.Body, s.opts.MaxRequest))
	s.keep(x, body)
	if kind, _, bad := mime.ParseMediaType(r.Header.Get("Content-Type")); bad != nil || kind != "text/xml" {
		s.refuse(x, fmt.Sprintf("Content-Type %q", r.Header.Get("Content-Type")))
		page(x.w, http.StatusUnsupportedMediaType, "Unsupported Media Type")
		return
	}
	if err != nil {
		page(x.w, http.StatusBadRequest, "Bad Request")
		return
	}
	req := &request{exchange: x, name: "GetUserSettings", version: s.product.speaks}
	run := s.getUserSettings
	if path == poxPath {
		req.name, run = "POX", s.pox
	}
	s.note(x, func(e *Request) { e.Operation = req.name })
	doc, bad := parse(body)
	if bad != nil {
		s.refuse(x, bad.Error())
		page(x.w, http.StatusBadRequest, "Bad Request")
		return
	}
	req.op = doc
	s.render(x.w, req, s.withFaults(req, func() *reply { return run(req) }))
}

// servePlain answers without TLS: with a redirect if the host has one, and to a GET alone.
func (s *Server) servePlain(x *exchange, path string) {
	h := s.host(hostName(x.r))
	if h.PlainRedirect == "" || path != poxPath || x.r.Method != http.MethodGet {
		_, _ = io.Copy(io.Discard, io.LimitReader(x.r.Body, s.opts.MaxRequest)) // the answer is the same if the client is gone
		page(x.w, http.StatusForbidden, "The page you are trying to access is secured with Secure Sockets Layer (SSL).")
		return
	}
	status := h.PlainStatus
	if status == 0 {
		status = http.StatusFound
	}
	http.Redirect(x.w, x.r, h.PlainRedirect, status)
}

// Namespaces of autodiscover.
const (
	nsAutodiscover = "http://schemas.microsoft.com/exchange/2010/Autodiscover"
	nsAddressing   = "http://www.w3.org/2005/08/addressing"
	nsPOXRequest   = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"
	nsPOXOutlook   = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
	nsPOXError     = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
)

// disco returns an element of SOAP autodiscover.
func disco(name string, kids ...*node) *node {
	return (&node{space: nsAutodiscover, name: name}).add(kids...)
}

// inOrder holds the children of n against names, all of a namespace and each at most once; those that end in "?" may be
// missing, those that end in "+" come once or more.
func inOrder(n *node, space string, names ...string) error {
	kids := n.children()
	for _, want := range names {
		name := strings.TrimRight(want, "?+")
		found := 0
		for len(kids) > 0 && kids[0].name == name && kids[0].space == space && (found == 0 || strings.HasSuffix(want, "+")) {
			kids, found = kids[1:], found+1
		}
		if found == 0 && !strings.HasSuffix(want, "?") {
			return fmt.Errorf("the element '%s' in %s is missing, or not in its place", name, n.name)
		}
	}
	if len(kids) > 0 {
		return fmt.Errorf("the element '%s' in %s is not expected there", kids[0].name, n.name)
	}
	return nil
}
