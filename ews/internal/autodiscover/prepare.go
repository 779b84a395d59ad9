package autodiscover

import "context"

// usersAtOnce is how many mailboxes one GetUserSettings asks for at first. What a server takes is not documented.
const usersAtOnce = 50

// Prepare looks for many mailboxes with few requests, so that a later Find has them in the cache: it is for a host that
// lists an organisation. Where SOAP autodiscover is not to be had, and for what it does not find, it leaves the search to
// Find. It returns early when ctx ends.
func (f *Finder) Prepare(ctx context.Context, addresses []string) {
	domains := make(map[string][]address)
	var order []string
	for _, text := range addresses {
		a, err := parseAddress(text)
		if err != nil {
			continue
		}
		if old, _ := f.load(ctx, f.key(a.whole)); old != nil && f.fresh(old, keepFor) {
			continue
		}
		if domains[a.domain] == nil {
			order = append(order, a.domain)
		}
		domains[a.domain] = append(domains[a.domain], a)
	}
	for _, domain := range order {
		if ctx.Err() != nil {
			return
		}
		f.prepare(ctx, domain, domains[domain])
	}
}

// prepare is Prepare for one domain. Its endpoint is found by asking for the first mailbox in the usual way.
func (f *Finder) prepare(ctx context.Context, domain string, all []address) {
	e, ok := f.works(domain)
	if !ok && len(all) > 1 {
		if _, err := f.find(ctx, all[0].whole, false); err != nil {
			return // whoever needs these mailboxes hears what is wrong
		}
		all = all[1:]
		e, ok = f.works(domain)
	}
	if !ok || !e.soap || f.refusedBy(e.url) {
		return
	}
	for most := usersAtOnce; len(all) > 1 && most > 1 && ctx.Err() == nil; {
		some := all[:min(most, len(all))]
		answers, v := f.postAll(ctx, e, some)
		switch v {
		case busy, refused:
			return
		case failed:
			most /= 2
			continue
		}
		for i, a := range some {
			if answers[i].verdict != settingsFound {
				continue
			}
			answers[i].settings.endpoint = e
			// One without a URL that can be used is looked for by Find, which may know another server.
			_, _ = f.keep(ctx, f.key(a.whole), a, answers[i].settings)
		}
		all = all[len(some):]
	}
}

// postAll asks e for several mailboxes at once. The verdict is about the request as a whole: settingsFound says that there
// is an answer about each mailbox.
func (f *Finder) postAll(ctx context.Context, e endpoint, all []address) ([]answer, verdict) {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.whole
	}
	data, a := f.exchange(ctx, e, soapRequest(e.url, names...), names[0])
	if data == nil {
		return nil, a.verdict
	}
	answers, err := parseSOAP(data, len(names))
	if err != nil {
		return nil, failed
	}
	for _, a := range answers {
		if a.verdict != failed && a.verdict != busy {
			return answers, settingsFound
		}
	}
	return nil, answers[0].verdict
}
