package peertest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// NTLMDomain is the domain of all users with DovecotOptions.NTLM.
const NTLMDomain = "DOM"

// mechanisms returns the SASL mechanisms to offer.
func (s *DovecotServer) mechanisms() string {
	all := s.opts.Mechanisms
	if s.opts.NTLM {
		all += " ntlm"
	}
	if s.opts.Token != "" {
		all += " xoauth2 oauthbearer"
	}
	return all
}

// prepareMechanisms starts and writes what the mechanisms beyond passwords need.
func (s *DovecotServer) prepareMechanisms() error {
	if (s.opts.NTLM || s.opts.Token != "") && !strings.HasPrefix(s.Version, "2.3.") {
		return fmt.Errorf("version 2.3, whose NTLM and OAuth settings this package writes, %w (there is %s)", ErrNotInstalled, s.Version)
	}
	if s.opts.NTLM {
		if err := s.writeNTLM(); err != nil {
			return err
		}
	}
	if s.opts.Token != "" {
		return s.serveTokens()
	}
	return nil
}

// writeNTLM writes the helper that verifies NTLM: Samba's, without a domain, for the first user's password. It verifies
// the password and nothing else.
func (s *DovecotServer) writeNTLM() error {
	helper, err := exec.LookPath("ntlm_auth")
	if err != nil {
		return fmt.Errorf("ntlm_auth (package winbind) %w", ErrNotInstalled)
	}
	if strings.ContainsAny(s.User+s.Password, "'") {
		return errors.New("user and password must be without apostrophe, for NTLM")
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --username='%s' --password='%s' --domain=%s\n", helper, s.User, s.Password, NTLMDomain)
	return os.WriteFile(s.at("ntlm"), []byte(script), 0o755) // Dovecot's user runs it
}

// serveTokens starts the authority that Dovecot asks whether a token is good: Options.Token is, for the first user.
func (s *DovecotServer) serveTokens() error {
	l, err := net.Listen("tcp", net.JoinHostPort(s.Host, "0"))
	if err != nil {
		return err
	}
	s.tokens = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+s.opts.Token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"active":true,"username":"`+s.User+`"}`) // Dovecot notices
	})}
	go func() { _ = s.tokens.Serve(l) }() // it ends with Close
	settings := fmt.Sprintf("tokeninfo_url = http://%s/?token=\nintrospection_mode = auth\nintrospection_url = http://%[1]s/\nusername_attribute = username\nactive_attribute = active\nactive_value = true\n", l.Addr())
	return os.WriteFile(s.at("oauth2"), []byte(settings), 0o644)
}

// mechanismSettings writes what version 2.3 calls the mechanisms beyond passwords.
func (s *DovecotServer) mechanismSettings(c *config) {
	if s.opts.NTLM {
		// The user arrives as user@DOM.
		c.line("auth_use_winbind = yes\nauth_winbind_helper_path = %s\nauth_username_format = %%n", s.at("ntlm"))
	}
	if s.opts.Token != "" {
		c.line("passdb {\n driver = oauth2\n mechanisms = xoauth2 oauthbearer\n args = %s\n}", s.at("oauth2"))
	}
}
