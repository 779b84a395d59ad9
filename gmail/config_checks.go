package gmail

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/token"
)

// Validate implements [connection.Config]. What depends on the host's Env, which is whether there is a source of tokens, and
// what is inside the key of a service account, Open checks.
func (c Config) Validate() error {
	for _, check := range []func() error{
		c.choices, c.checkCredentials, c.checkDomain, c.checkSelection, c.checkReading, c.checkVerbs, c.checkRhythm, c.checkMonitors,
		c.checkTransport, c.TLSSettings.Validate,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// choices are the settings that are one word of a few.
func (c *Config) choices() error {
	m := &c.Monitors
	for _, choice := range []struct {
		name, value string
		want        []string
	}{
		{"retrieval", c.Retrieval, []string{RetrieveSynchronize, RetrieveMonitors}},
		{"delete_mode", c.DeleteMode, []string{DeleteTrash, DeleteHard}},
		{"append_method", c.AppendMethod, []string{AppendImport, AppendInsert}},
		{"internal_date", c.InternalDate, []string{DateHeader, ReceivedTime}},
		{"upload", c.Upload, []string{UploadAuto, UploadJSON, UploadMedia}},
		{"quota_profile", c.QuotaProfile, []string{Quota2026, QuotaLegacy}},
		{"monitors.incoming", m.Incoming, []string{LevelFull, LevelHeaders}},
		{"monitors.outgoing", m.Outgoing, []string{LevelFull, LevelHeaders}},
		{"monitors.drafts", m.Drafts, []string{LevelNone, LevelHeaders, LevelFull}},
		{"monitors.chat", m.Chat, []string{LevelNone, LevelHeaders, LevelFull}},
	} {
		if choice.value != "" && !slices.Contains(choice.want, choice.value) {
			return fmt.Errorf("%s: %q: want %s", choice.name, choice.value, orList(choice.want))
		}
	}
	return nil
}

func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// ways counts the settings that say how to get tokens.
func (c *Config) ways() int {
	n := 0
	for _, set := range []bool{!c.Credentials.IsZero(), c.Keyless != nil, c.OAuth2 != nil} {
		if set {
			n++
		}
	}
	return n
}

var errCredentials = errors.New("credentials, keyless, oauth2: give exactly one (or a Token hook)")

func (c *Config) checkCredentials() error {
	if c.ways() > 1 {
		return errCredentials
	}
	switch {
	case !c.Credentials.IsZero():
		if _, err := token.CheckServiceAccount([]byte(c.Credentials.Reveal()), c.CustomEndpoints); err != nil {
			return err
		}
	case c.Keyless != nil:
		if err := c.Keyless.Validate(c.CustomEndpoints); err != nil {
			return err
		}
	case c.OAuth2 != nil:
		if err := c.OAuth2.Validate(c.CustomEndpoints); err != nil {
			return err
		}
	}
	switch {
	case c.Admin == "" && (!c.Credentials.IsZero() || c.Keyless != nil):
		return errors.New("admin: missing (needed with credentials or keyless)")
	case c.Admin != "" && !isAddress(c.Admin):
		return fmt.Errorf("admin: %q: not an address", c.Admin)
	case c.OAuth2 != nil && c.Admin != "":
		return errors.New("admin: not with oauth2, which opens one mailbox only")
	}
	return nil
}

// checkHook checks what Env.Token makes of the settings.
func (c *Config) checkHook(env *connection.Env) error {
	if c.ways() == 0 && (env == nil || env.Token == nil) {
		return errCredentials
	}
	if c.Admin != "" {
		return nil
	}
	return c.checkSingle()
}

// checkSingle refuses what single-mailbox use cannot obey.
func (c *Config) checkSingle() error {
	if c.monitored() {
		return errors.New("retrieval: monitors needs credentials or keyless")
	}
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"domain", c.Domain != ""},
		{"include", len(c.Include) > 0},
		{"exclude", len(c.Exclude) > 0},
		{"org_units", len(c.OrgUnits) > 0},
		{"exclude_org_units", len(c.ExcludeOrgUnits) > 0},
		{"groups", len(c.Groups) > 0},
		{"exclude_groups", len(c.ExcludeGroups) > 0},
		{"include_suspended", c.IncludeSuspended},
	} {
		if s.set {
			return fmt.Errorf("%s: needs credentials or keyless, as only they open more than one mailbox", s.name)
		}
	}
	return nil
}

func (c *Config) checkDomain() error {
	switch {
	case c.Customer != "" && c.Customer != defaultCustomer && c.Domain != "":
		return errors.New("customer, domain: give only one")
	case strings.ContainsFunc(c.Customer, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return fmt.Errorf("customer: %q: not a customer id", c.Customer)
	case c.Domain != "" && !isDomain(c.Domain):
		return fmt.Errorf("domain: %q: not a domain name", c.Domain)
	case c.OAuth2 != nil:
		return c.checkSingle()
	}
	return nil
}

func (c *Config) checkSelection() error {
	for _, list := range []struct {
		name string
		all  []string
		ok   func(string) bool
		want string
	}{
		{"include", c.Include, isPattern, "want an address or a pattern such as *@sales.example.org"},
		{"exclude", c.Exclude, isPattern, "want an address or a pattern such as *@sales.example.org"},
		{"org_units", c.OrgUnits, isUnit, "want a path such as /Sales"},
		{"exclude_org_units", c.ExcludeOrgUnits, isUnit, "want a path such as /Sales"},
		{"groups", c.Groups, isAddress, "not an address"},
		{"exclude_groups", c.ExcludeGroups, isAddress, "not an address"},
	} {
		for _, entry := range list.all {
			if !list.ok(entry) {
				return fmt.Errorf("%s: %q: %s", list.name, entry, list.want)
			}
		}
	}
	return nil
}

func (c *Config) checkReading() error {
	if d := c.FolderDelimiter; d != "" {
		r, size := utf8.DecodeRuneInString(d)
		// What %XX is made of could not be told from a delimiter; "~" and "%" have a meaning of their own.
		if size != len(d) || r == utf8.RuneError || !unicode.IsPunct(r) && !unicode.IsSymbol(r) || r == '%' || r == '~' {
			return fmt.Errorf("folder_delimiter: %q: want one punctuation character, other than %% and ~", d)
		}
	}
	switch {
	case c.PageSize < 0 || c.PageSize > defaultPageSize:
		return fmt.Errorf("page_size: %d: want 1 to %d", c.PageSize, defaultPageSize)
	case c.MaxMessage < 0:
		return fmt.Errorf("max_message: %d: want at least 0", c.MaxMessage)
	case c.SpoolMemory != 0 && c.SpoolMemory < minSpoolMemory:
		return fmt.Errorf("spool_memory: %d: want at least %d", c.SpoolMemory, minSpoolMemory)
	}
	return nil
}

func (c *Config) checkVerbs() error {
	for _, verb := range c.Verbs {
		if verb != VerbDelete && verb != VerbAppend && verb != VerbSend {
			return fmt.Errorf("verbs: %q: want delete, append or send", verb)
		}
		if c.monitored() && verb != VerbDelete {
			return fmt.Errorf("verbs: %q: not with retrieval monitors, which only reads and deletes", verb)
		}
	}
	return nil
}

// allows reports whether the settings permit a verb.
func (c *Config) allows(verb string) bool {
	return slices.Contains(c.Verbs, verb) || verb == VerbDelete && c.monitored()
}

func (c *Config) checkRhythm() error {
	if c.DailyBudget < 0 {
		return fmt.Errorf("daily_budget: %d: want at least 1", c.DailyBudget)
	}
	for _, n := range []struct {
		name       string
		value, top int
	}{
		{"parallel", c.Parallel, maxParallel},
		{"retries", c.Retries, maxRetries},
	} {
		if n.value < 0 || n.value > n.top {
			return fmt.Errorf("%s: %d: want 1 to %d", n.name, n.value, n.top)
		}
	}
	for _, d := range []struct {
		name  string
		value connection.Duration
	}{
		{"poll_interval", c.PollInterval},
		{"poll_interval_max", c.PollIntervalMax},
	} {
		if d.value < 0 || d.value > 0 && d.value.D() < minPollInterval {
			return fmt.Errorf("%s: %s: want at least %s", d.name, d.value, minPollInterval)
		}
	}
	if c.PollIntervalMax != 0 && c.PollIntervalMax.D() < c.pollInterval() {
		return fmt.Errorf("poll_interval_max: %s: want at least poll_interval, which is %s", c.PollIntervalMax, c.pollInterval())
	}
	return nil
}

func (c *Config) checkMonitors() error {
	m := &c.Monitors
	switch {
	case m.DailyWrites < 0 || m.DailyWrites > maxDailyWrites:
		return fmt.Errorf("monitors.daily_writes: %d: want 1 to %d", m.DailyWrites, maxDailyWrites)
	case m.Lifetime < 0:
		return errors.New("monitors.lifetime: negative")
	case m.RenewBefore < 0:
		return errors.New("monitors.renew_before: negative")
	case m.CheckInterval < 0:
		return errors.New("monitors.check_interval: negative")
	case m.lifetime() <= m.renewBefore():
		return fmt.Errorf("monitors.lifetime: %s: must be longer than renew_before, which is %s", m.lifetime(), m.renewBefore())
	case m.Destination == "" && !c.monitored():
		return nil
	case m.Destination == "":
		return errors.New("monitors.destination: missing")
	}
	user, domain, full := strings.Cut(m.Destination, "@")
	switch {
	case user == "" || !isAddress(user+"@example.org"), full && !isDomain(domain):
		return fmt.Errorf("monitors.destination: %q: want an address, or the part before its @", m.Destination)
	case full && c.feedDomain() != "" && !strings.EqualFold(domain, c.feedDomain()):
		return fmt.Errorf("monitors.destination: %s: not in domain %s", m.Destination, c.feedDomain())
	}
	return nil
}

// feedDomain returns the domain whose users are monitored.
func (c *Config) feedDomain() string {
	if c.Domain != "" {
		return strings.ToLower(c.Domain)
	}
	return strings.ToLower(c.Admin[strings.LastIndexByte(c.Admin, '@')+1:])
}

func (c *Config) checkTransport() error {
	for _, d := range []struct {
		name  string
		value connection.Duration
	}{
		{"connect_timeout", c.ConnectTimeout},
		{"no_data_timeout", c.NoDataTimeout},
		{"response_header_timeout", c.ResponseTimeout},
	} {
		if d.value < 0 {
			return fmt.Errorf("%s: negative; 0 means none", d.name)
		}
	}
	if ua := c.UserAgent; ua != "" {
		switch {
		case strings.ContainsFunc(ua, control):
			return errors.New("user_agent: control character")
		case !strings.Contains(ua, "gzip"):
			return fmt.Errorf("user_agent: %q: must contain gzip, without which Google compresses nothing", ua)
		}
	}
	_, err := c.sites()
	return err
}

// warnings are about settings that are permitted and unwise.
func (c *Config) warnings() []string {
	var all []string
	if c.AcceptAnyCertificate {
		all = append(all, "accept_any_certificate: anybody on the path can read and change everything")
	}
	if c.CustomEndpoints && c.Endpoint == "" {
		all = append(all, "custom_endpoints: it is set, and endpoint is not: mail comes from Google all the same")
	}
	return all
}

func control(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }

// isAddress reports whether text can be the address of a user or of a group: what goes into tokens and URLs.
func isAddress(text string) bool {
	at := strings.LastIndexByte(text, '@')
	return at > 0 && isDomain(text[at+1:]) && !strings.ContainsFunc(text[:at], func(r rune) bool { return r <= ' ' || control(r) || strings.ContainsRune("@/<>,;", r) })
}

func isDomain(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
		}) {
			return false
		}
	}
	return len(text) <= 253
}

func isPattern(text string) bool {
	_, err := path.Match(text, "")
	return err == nil && text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || control(r) }) && (strings.Contains(text, "@") || strings.ContainsAny(text, "*?["))
}

func isUnit(text string) bool {
	return strings.HasPrefix(text, "/") && !strings.ContainsFunc(text, control)
}
