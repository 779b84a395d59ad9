package autodiscover

import (
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A policy says to which hosts credentials may be redirected.
type policy struct {
	homes  []string // registrable domains: the mailbox's and the server's
	hosts  []string // exact names: the domain and its autodiscover host, the server, autodiscover_urls
	allow  []string
	decide func(from, to *url.URL) error
}

// microsoft are the hosts of Exchange Online to which servers on premises redirect.
var microsoft = []string{"*.outlook.com", "*.office365.com"}

func (f *Finder) policyFor(origin address) *policy {
	p := &policy{hosts: []string{origin.domain, "autodiscover." + origin.domain}, decide: f.o.RedirectPolicy}
	if home, ok := registrable(origin.domain); ok {
		p.homes = append(p.homes, home)
	}
	if host, err := asciiHost(f.o.Server); err == nil {
		p.hosts = append(p.hosts, host)
		if home, ok := registrable(host); ok {
			p.homes = append(p.homes, home)
		}
	}
	for _, u := range f.o.URLs {
		if host, err := asciiHost(u.Hostname()); err == nil {
			p.hosts = append(p.hosts, host)
		}
	}
	for _, pattern := range append(append([]string(nil), microsoft...), f.o.RedirectAllow...) {
		name, wild := strings.CutPrefix(strings.TrimSpace(pattern), "*.")
		host, err := asciiHost(name)
		if err != nil {
			continue
		}
		if wild {
			host = "*." + host
		}
		p.allow = append(p.allow, host)
	}
	return p
}

// registrable returns the part of a host name that somebody registered: "company.co.uk" of "mail.company.co.uk". There is
// none in an IP address, in a single label, and in what is for everybody to register below, such as "co.uk".
func registrable(host string) (domain string, ok bool) {
	if top := host[strings.LastIndexByte(host, '.')+1:]; strings.Contains(host, ":") || strings.Trim(top, "0123456789") == "" {
		return "", false // no top-level domain is a number
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	return domain, err == nil
}

// within reports whether host is domain or below it.
func within(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// permit returns nil if credentials that were meant for from may go to to. from may be what DNS or plain http said: its
// scheme is then not https. to has been through secureURL.
func (p *policy) permit(from, to *url.URL) error {
	blocked := &RedirectBlockedError{From: from.String(), To: to.String()}
	if p.decide != nil {
		if err := p.decide(from, to); err != nil {
			return fmt.Errorf("%w: %w", blocked, err)
		}
		return nil
	}
	host := to.Hostname()
	if from.Scheme == "https" && from.Host == to.Host {
		return nil
	}
	for _, home := range p.homes {
		if within(host, home) {
			return nil
		}
	}
	for _, known := range p.hosts {
		if host == known {
			return nil
		}
	}
	for _, pattern := range p.allow {
		if domain, wild := strings.CutPrefix(pattern, "*."); wild && host != domain && within(host, domain) || host == pattern {
			return nil
		}
	}
	return blocked
}
