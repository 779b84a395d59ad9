// Package peertest starts the real servers that tests and benchmarks hold this module against, as child processes on
// loopback, and puts faults on the wire between a client and any of them.
//
//	srv := peertest.Dovecot(t, nil)               // skipped, visibly, where Dovecot is not installed
//	srv.Deliver(srv.User, raw1, raw2)             // as files in the user's Maildir
//	proxy := peertest.NewProxy(t, srv.Addr("imap"))
//	proxy.Set(peertest.Faults{Down: peertest.Way{CutAfter: 10_000, How: peertest.Reset}})
//	// … drain proxy.Addr() …
//	left := srv.Messages(srv.User)                // octet for octet
//
// The package knows no driver: servers are described by plain fields (host, ports, user, password, CA certificate),
// from which each driver's tests make their settings. Programs that are no tests use [StartDovecot] and [StartProxy].
//
// Whatever is started ends with the test, and also when the test process is killed (on Linux).
package peertest
