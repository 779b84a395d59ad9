package ewshttp_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/ewshttp"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// samba verifies NTLM by Samba's ntlm_auth, one process for each login. It is told one password, and looks at nothing else of
// the account.
type samba struct {
	in   io.Writer
	out  *bufio.Reader
	who  saslserver.Identity
	fail func(error)
}

func newSamba(t testing.TB, path string) *samba {
	cmd := exec.CommandContext(t.Context(), path, "--helper-protocol=squid-2.5-ntlmssp", "--username=joe", "--password="+password, "--domain=CORP")
	s := &samba{fail: func(err error) { t.Error(err) }}
	in, err := cmd.StdinPipe()
	if err != nil {
		s.fail(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.fail(err)
	}
	if err := cmd.Start(); err != nil {
		s.fail(err)
		return s
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends with its input
		_ = cmd.Wait() // and is of no interest any more
	})
	s.in, s.out = in, bufio.NewReader(out)
	return s
}

// Next implements verifier.
func (s *samba) Next(message []byte) ([]byte, bool, error) {
	command := map[byte]string{1: "YR", 3: "KK"}[message[8]]
	if _, err := fmt.Fprintf(s.in, "%s %s\n", command, base64.StdEncoding.EncodeToString(message)); err != nil {
		return nil, false, err
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return nil, false, err
	}
	answer, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch answer {
	case "TT":
		challenge, err := base64.StdEncoding.DecodeString(rest)
		return challenge, false, err
	case "AF":
		s.who.Domain, s.who.User, _ = strings.Cut(rest, `\`)
		return nil, true, nil
	}
	return nil, false, fmt.Errorf("ntlm_auth says %q", line)
}

// Identity implements verifier.
func (s *samba) Identity() saslserver.Identity { return s.who }

// A second implementation of NTLM takes our messages over HTTP, with and without a channel binding, and refuses a wrong password.
func TestSambaVerifiesNTLM(t *testing.T) {
	path, err := exec.LookPath("ntlm_auth")
	if err != nil {
		peertest.Require(t, fmt.Errorf("ntlm_auth (package winbind) %w", peertest.ErrNotInstalled))
	}
	for _, name := range []string{`CORP\joe`, "joe", "joe@corp.test"} {
		for _, binding := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, binding %v", name, binding), func(t *testing.T) {
				s := newServer(t, ntlm)
				s.verifier = func() verifier { return newSamba(t, path) }
				set := func(o *ewshttp.Options) { o.Username, o.ChannelBinding = name, binding }
				c := s.client(nil, set)
				for range 2 {
					get(t, c, s.request())
				}
				if s.refused() != 0 {
					t.Errorf("%d logins refused", s.refused())
				}
				fails(t, s.client(nil, set, func(o *ewshttp.Options) { o.Password = connection.NewSecret("wrong") }), s.request(), connection.ErrAuth)
			})
		}
	}
}
