package ewstest

import (
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
)

// Config returns settings that fit the server, to be used together with [Server.Env]: its first account logs in, and every
// mailbox is on this server without autodiscover.
func (s *Server) Config() ews.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := ews.Config{Server: "exchange.corp.test", DisableAutodiscover: true, LookupSRV: s.LookupSRV}
	if len(s.store.accounts) > 0 {
		first := s.store.accounts[0]
		if _, domain, found := strings.Cut(first.address, "@"); found {
			c.Server = "exchange." + domain
		}
		c.Username, c.Password = first.address, connection.NewSecret(first.password)
	}
	return c
}
