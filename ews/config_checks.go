package ews

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
	"github.com/mailconn/mailconn/internal/saslx"
)

// Validate implements [connection.Config]. What depends on the host's Env, which is whether there is a source of tokens,
// Open checks.
func (c Config) Validate() error {
	for _, check := range []func() error{
		c.checkMode, c.checkServer, c.checkVersion, c.choices, c.checkAccount, c.checkAutodiscover, c.checkMailboxes, c.checkWork,
		c.TLSSettings.Validate,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkMode() error {
	switch c.Mode {
	case connection.ModeSTARTTLS:
		return errors.New("mode: starttls is not possible with ews")
	case "", connection.ModeTLS, connection.ModeTLSWhenAvailable, connection.ModeInsecure:
	default:
		return fmt.Errorf("mode: %q: want %s, %s or %s", string(c.Mode), connection.ModeTLS, connection.ModeTLSWhenAvailable, connection.ModeInsecure)
	}
	if c.ConnectTimeout < 0 {
		return errors.New("connect_timeout: negative; 0 means none")
	}
	if c.NoDataTimeout < 0 {
		return errors.New("no_data_timeout: negative; 0 means none")
	}
	return nil
}

func (c *Config) checkServer() error {
	u, err := c.serverURL()
	switch {
	case err != nil:
		return err
	case u == nil:
		if !c.discovers() || !strings.Contains(domainOf(c.Username), ".") {
			return errors.New("server: missing")
		}
		return nil
	case c.AllowAnyHost:
		return nil
	}
	host := u.Hostname()
	if net.ParseIP(host) != nil {
		return errors.New("server: is an IP address; Exchange's certificate and autodiscover need the server's real DNS name (set allow_any_host to use it anyway)")
	}
	if !strings.Contains(strings.TrimSuffix(host, "."), ".") {
		return fmt.Errorf("server: %q is a single label, give the fully qualified name", host)
	}
	return nil
}

// asmx is where EWS is on every Exchange server.
const asmx = "/EWS/Exchange.asmx"

// serverURL returns the EWS URL of the setting server, nil if it is not set.
func (c *Config) serverURL() (*url.URL, error) {
	s := c.Server
	if s == "" {
		return nil, nil
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("server: %q: spaces or control characters", shown(s))
	}
	scheme := "https"
	if c.Mode == connection.ModeInsecure {
		scheme = "http"
	}
	if !strings.Contains(s, "://") {
		network := connection.NetworkSettings{Server: s}
		host, port, err := network.HostPort(0)
		if err != nil {
			return nil, err
		}
		return &url.URL{Scheme: scheme, Host: authority(host, port), Path: asmx}, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, errors.New("server: want a host name, host:port, or a URL such as https://exchange.example.org/EWS/Exchange.asmx")
	case u.User != nil:
		return nil, errors.New("server: a URL with user information; username and password are settings of their own")
	case u.RawQuery != "" || u.ForceQuery:
		return nil, errors.New("server: a URL with a query")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errors.New("server: a URL with a fragment")
	case !strings.EqualFold(u.Scheme, scheme):
		return nil, fmt.Errorf("server: scheme %q: with mode %s want %s", u.Scheme, c.Mode.Or(), scheme)
	}
	if text := u.Port(); text != "" {
		if port, err := strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return nil, fmt.Errorf("server: port %q: want a number from 1 to 65535", text)
		}
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = asmx
	}
	return u, nil
}

// shown returns what an error shows of a URL that is none: not what may be a password.
func shown(text string) string {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		return "…" + text[at:]
	}
	return text
}

// authority returns host and port as a URL takes them. Port 0 is the scheme's own.
func authority(host string, port int) string {
	if port != 0 {
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// domainOf returns what stands behind the @ of an address, "" if there is none.
func domainOf(address string) string {
	if i := strings.LastIndexByte(address, '@'); i > 0 {
		return address[i+1:]
	}
	return ""
}

func (c *Config) checkVersion() error {
	if err := c.Version.tooOld(); err != nil {
		return fmt.Errorf("version: %w", err)
	}
	return nil
}

// ceiling returns the highest version that may be declared.
func (c *Config) ceiling() soap.Version {
	if v, ok := soap.Serves(string(c.version())); ok {
		return v
	}
	return soap.Exchange2016
}

func (c *Config) checkAccount() error {
	switch {
	case strings.ContainsFunc(c.Username, control):
		return errors.New("username: control character")
	case strings.ContainsAny(c.Password.Reveal(), "\r\n\x00"):
		return errors.New("password: it must not hold CR, LF or NUL")
	case c.OAuth2 != nil && !c.Password.IsZero():
		return errors.New("password, oauth2: give only one")
	}
	if _, err := saslx.ParseName(c.Username); err != nil {
		return err
	}
	if c.OAuth2 != nil {
		if err := c.OAuth2.Validate(); err != nil {
			return err
		}
	}
	switch c.auth() {
	case AuthBasic, AuthNTLM:
		switch {
		case c.OAuth2 != nil:
			return fmt.Errorf("oauth2: not with auth %s", c.Auth)
		case c.Username == "":
			return errors.New("username: missing")
		case c.Password.IsZero():
			return errors.New("password: missing")
		case c.Auth == AuthBasic && strings.Contains(c.Username, ":"):
			return errors.New("username: a colon cannot be sent with auth basic")
		}
	case AuthOAuth:
		if !c.Password.IsZero() {
			return errors.New("password: not with auth oauth")
		}
	}
	if c.Username == "" && !c.Password.IsZero() {
		return errors.New("username: missing")
	}
	if c.ChannelBinding == "on" && c.Mode == connection.ModeInsecure {
		return errors.New("channel_binding: on needs TLS, and mode is insecure")
	}
	return nil
}

// checkTokens checks what depends on whether the host has a source of tokens.
func (c *Config) checkTokens(env *connection.Env) error {
	switch source := c.OAuth2 != nil || env != nil && env.Token != nil; {
	case source && c.Password.IsZero():
		return nil
	case c.auth() == AuthOAuth:
		return errors.New("auth: oauth needs oauth2, or the host's token source")
	case c.Username == "":
		return errors.New("username: missing")
	case c.Password.IsZero():
		return errors.New("password: missing")
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func (c *Config) checkAutodiscover() error {
	u, _ := c.serverURL() // checked before
	if c.DisableAutodiscover {
		switch {
		case u != nil && online(u.Hostname()):
			return fmt.Errorf("disable_autodiscover: Exchange Online needs autodiscover; %s", retirement)
		case len(c.AutodiscoverURLs) > 0:
			return errors.New("autodiscover_urls: not with disable_autodiscover")
		}
	}
	if c.FallbackToServer && u == nil {
		return errors.New("fallback_to_server: needs server")
	}
	for _, text := range c.AutodiscoverURLs {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "":
			return fmt.Errorf("autodiscover_urls: %q: want a URL such as https://autodiscover.example.org/autodiscover/autodiscover.svc", shown(text))
		case u.User != nil || u.Fragment != "":
			return errors.New("autodiscover_urls: a URL with user information or a fragment") // not shown: it may hold a password
		case u.Scheme != "https":
			return fmt.Errorf("autodiscover_urls: %q: want https, since credentials are sent there", shown(text))
		}
	}
	for _, name := range c.RedirectAllow {
		bare := strings.TrimPrefix(name, "*.")
		if bare == "" || strings.ContainsAny(bare, "*/:@ ") || strings.ContainsFunc(bare, control) {
			return fmt.Errorf("redirect_allow: %q: want a host name, or *. and a domain", shown(name))
		}
	}
	return nil
}

func (c *Config) checkMailboxes() error {
	for i, name := range c.Mailboxes {
		if err := c.checkMailbox(name); err != nil {
			return fmt.Errorf("mailboxes: %w", err)
		}
		if slices.ContainsFunc(c.Mailboxes[:i], func(other string) bool { return strings.EqualFold(other, name) }) {
			return fmt.Errorf("mailboxes: %q: given twice", name)
		}
	}
	if c.TestMailbox != "" {
		if err := c.checkMailbox(c.TestMailbox); err != nil {
			return fmt.Errorf("test_mailbox: %w", err)
		}
	}
	for _, name := range c.Groups {
		if err := checkAddress(name); err != nil {
			return fmt.Errorf("groups: %w", err)
		}
	}
	if c.access() == AccessOwn {
		switch {
		case len(c.Mailboxes) > 0:
			return errors.New("mailboxes: not with access own")
		case len(c.Groups) > 0:
			return errors.New("groups: not with access own")
		case c.TestMailbox != "":
			return errors.New("test_mailbox: not with access own")
		}
	}
	for _, class := range c.FolderClasses {
		if strings.ContainsFunc(class, control) {
			return fmt.Errorf("folder_classes: %q: control character", class)
		}
	}
	return nil
}

// checkMailbox checks the name of a mailbox as settings and options give it.
func (c *Config) checkMailbox(name string) error {
	name = strings.TrimSuffix(name, archiveSuffix)
	if c.impersonateBy() == BySID && strings.HasPrefix(name, "S-1-") && !strings.ContainsFunc(name[4:], func(r rune) bool { return (r < '0' || r > '9') && r != '-' }) {
		return nil
	}
	return checkAddress(name)
}

func checkAddress(name string) error {
	local, domain, _ := strings.Cut(name, "@")
	switch {
	case local == "" || domain == "" || strings.Contains(domain, "@"):
		return fmt.Errorf("%q: want an address with one @", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) || strings.ContainsAny(name, "#<>"):
		return fmt.Errorf("%q: want a bare address, without spaces, angle brackets or control characters", name)
	}
	return nil
}

func (c *Config) checkWork() error {
	switch {
	case c.BatchItems < 0 || c.BatchItems > maxBatchItems:
		return fmt.Errorf("batch_items: %d: want 1 to %d", c.BatchItems, maxBatchItems)
	case c.BatchBytes != 0 && c.BatchBytes < minBatchBytes:
		return fmt.Errorf("batch_bytes: %d: want at least %d", c.BatchBytes, minBatchBytes)
	case c.BigItemBytes < 0:
		return errors.New("big_item_bytes: negative")
	case c.BigItemBytes > c.batchBytes():
		return fmt.Errorf("big_item_bytes: %d: want at most batch_bytes, which is %d", c.BigItemBytes, c.batchBytes())
	case c.MaxConnections < 0 || c.MaxConnections > maxConnections:
		return fmt.Errorf("max_connections: %d: want 1 to %d", c.MaxConnections, maxConnections)
	case c.PollInterval < 0:
		return errors.New("poll_interval: negative")
	case c.Notifications == NotifyStreaming && c.ceiling().Below(soap.Exchange2010SP1):
		return fmt.Errorf("notifications: streaming needs Exchange 2010 SP1, and version is %s", c.Version)
	case strings.ContainsFunc(c.UserAgent, control):
		return errors.New("user_agent: CR, LF or another control character")
	}
	for i, word := range c.Fallbacks {
		switch {
		case !slices.Contains([]string{FallbackRetry, FallbackMimeUTF8, FallbackRebuild}, word):
			return fmt.Errorf("fallbacks: %q: want %s, %s or %s", word, FallbackRetry, FallbackMimeUTF8, FallbackRebuild)
		case slices.Contains(c.Fallbacks[:i], word):
			return fmt.Errorf("fallbacks: %q: given twice", word)
		}
	}
	return nil
}

const retirement = "Exchange Online retires EWS: since 1 October 2026 it serves only applications in the tenant's EWSAllowedAppIDs, from 1 April 2027 none; use the driver msgraph"

// online reports whether a host belongs to Exchange Online.
func online(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, domain := range []string{"office365.com", "outlook.com", "office365.us", "outlook.office.com", "partner.outlook.cn"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

// warnings returns what is permitted and still unwise or without effect, for the log and for Test.
func (c *Config) warnings() []string {
	var all []string
	if c.AllowPlaintextAuth && c.Mode.Or() == connection.ModeTLS {
		all = append(all, "allow_plaintext_auth: has no effect with mode tls")
	}
	if c.PollInterval > 0 && c.PollInterval.D() < minPollInterval {
		all = append(all, fmt.Sprintf("poll_interval: %s is raised to %s", c.PollInterval, minPollInterval))
	}
	if u, _ := c.serverURL(); u != nil && online(u.Hostname()) || online(domainOf(c.Username)) {
		all = append(all, "server: "+retirement)
	}
	if c.AcceptAnyCertificate {
		all = append(all, "accept_any_certificate: anybody on the path can read and change everything; pin_sha256 is the safe way to use a self-signed certificate. It holds for server alone, not for hosts that autodiscover finds")
	}
	return all
}
