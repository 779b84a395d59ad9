package ewstest_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/internal/peertest"
)

// sambaClient is Samba's half of one NTLM exchange, as a client.
type sambaClient struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func newSambaClient(t *testing.T, user, password, domain string) *sambaClient {
	t.Helper()
	path, err := exec.LookPath("ntlm_auth")
	if err != nil {
		peertest.Require(t, fmt.Errorf("ntlm_auth (package winbind) %w", peertest.ErrNotInstalled))
	}
	cmd := exec.CommandContext(t.Context(), path, "--helper-protocol=ntlmssp-client-1", "--username="+user, "--password="+password, "--domain="+domain)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends with its input
		_ = cmd.Wait() // and is of no interest any more
	})
	return &sambaClient{t, in, bufio.NewReader(out)}
}

// say gives the helper a line, and returns the message that it answers with.
func (s *sambaClient) say(line string) string {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	_, message, _ := strings.Cut(strings.TrimSpace(answer), " ")
	return message
}

// A client that is not ours passes our verifier, and with a wrong password does not.
func TestSambaIsLetIn(t *testing.T) {
	for _, test := range []struct {
		scheme, user, password, domain string
		status                         int
	}{
		{"NTLM", "alice", alicePassword, "CORP", http.StatusOK},
		{"Negotiate", "Alice", alicePassword, "corp", http.StatusOK},
		{"NTLM", "al@corp.local", alicePassword, "", http.StatusOK},
		{"NTLM", "alice", "wrong", "CORP", http.StatusUnauthorized},
	} {
		srv := ntlmServer(t)
		c, samba := newBareClient(t, srv), newSambaClient(t, test.user, test.password, test.domain)
		first := c.call("", "Authorization", test.scheme+" "+samba.say("YR"))
		_, challenge, _ := strings.Cut(first.header.Get("WWW-Authenticate"), " ")
		second := c.call(getInbox, "Authorization", test.scheme+" "+samba.say("TT "+challenge))
		if second.status != test.status {
			t.Errorf("%+v: got status %d, %+v", test, second.status, srv.Logins(""))
		}
	}
}
