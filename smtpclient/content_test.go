package smtpclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/smtpclient"
	"github.com/mailconn/mailconn/smtpclient/smtptest"
)

const header = "Message-ID: <1@a>\r\n\r\n"

// Edge case 14: what the octets become, by BDAT and by DATA.
func TestOctets(t *testing.T) {
	for name, tt := range map[string]struct {
		raw, data string // what arrives by DATA; "-" if it is refused
		note      string
	}{
		"plain":              {header + "x\r\n", header + "x\r\n", ""},
		"bare LF":            {header + "a\nb\n", header + "a\r\nb\r\n", "2 bare LF became CRLF"},
		"bare CR":            {header + "a\rb\r\n", "-", ""},
		"CR at the end":      {header + "a\r", "-", ""},
		"NUL":                {header + "a\x00b\r\n", "-", ""},
		"no final line end":  {header + "a", header + "a\r\n", "a CRLF was added at the end"},
		"a dot":              {header + ".\r\n", header + ".\r\n", ""},
		"dots":               {header + "..\r\n.a\r\n...\r\n.", header + "..\r\n.a\r\n...\r\n.\r\n", "a CRLF was added at the end"},
		"a dot first of all": {".\r\n\r\n", ".\r\n\r\n", ""},
		"a long line":        {header + strings.Repeat("x", 5000) + "\r\n", header + strings.Repeat("x", 5000) + "\r\n", "a line has 5000 octets"},
		"8 bits":             {"Subject: gr\xfc\xdfe\r\n\r\n\xff\r\n", "Subject: gr\xfc\xdfe\r\n\r\n\xff\r\n", ""},
		"nothing":            {"", "", ""},
		"one octet":          {"x", "x\r\n", "a CRLF was added at the end"},
		"LF . LF":            {header + "a\n.\nMAIL FROM:<eve@example.org>\n", header + "a\r\n.\r\nMAIL FROM:<eve@example.org>\r\n", "bare LF"},
		"CR . CR":            {header + "a\r.\rb\r\n", "-", ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv, cfg := plainServer(t, nil)
			if r := mustSend(t, open(t, cfg, nil), toBob, tt.raw); len(r.Rewritten) > 0 {
				t.Errorf("BDAT: got notes %q", r.Rewritten)
			}
			wantArrived(t, srv, tt.raw)

			srv, cfg = plainServer(t, nil)
			cfg.BodyPath = smtpclient.PathDATA
			r, err := send(t, open(t, cfg, nil), toBob, tt.raw)
			if tt.data == "-" {
				if !errors.Is(err, connection.ErrConfig) && !errors.Is(err, connection.ErrUnsupported) || !strings.Contains(err.Error(), "octet ") {
					t.Errorf("DATA: got %v, want a refusal that names the octet", err)
				}
				wantArrived(t, srv)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(r.Rewritten, "; "); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("DATA: got notes %q, want %q", notes, tt.note)
			}
			wantArrived(t, srv, tt.data)
		})
	}
}

func TestBareCRAsTheSettingsSay(t *testing.T) {
	for how, want := range map[string]string{smtpclient.BareCRSpace: header + "a .  b\r\nc \r\n", smtpclient.BareCRCRLF: header + "a\r\n.\r\n\r\nb\r\nc\r\n"} {
		srv, cfg := plainServer(t, nil)
		cfg.BodyPath, cfg.BareCR = smtpclient.PathDATA, how
		r := mustSend(t, open(t, cfg, nil), toBob, header+"a\r.\r\rb\r\nc\r")
		wantArrived(t, srv, want)
		if len(r.Rewritten) == 0 || !strings.Contains(r.Rewritten[0], "4 bare CR") {
			t.Errorf("got notes %q", r.Rewritten)
		}
	}
}

// The offset that is named is that of the first bare CR, also across the pieces that are read.
func TestOffsetOfABareCR(t *testing.T) {
	_, cfg := plainServer(t, nil)
	cfg.BodyPath = smtpclient.PathDATA
	c := open(t, cfg, nil)
	for _, at := range []int{20, 128<<10 - 2, 128<<10 - 1, 128 << 10, 300_000} {
		raw := bytes.Repeat([]byte("0123456789abcd\r\n"), 20_000)
		raw[at] = '\r'
		if raw[at+1] == '\n' {
			raw[at+1] = 'x'
		}
		_, err := send(t, c, toBob, string(raw))
		first := at
		for i := range raw { // the slow way
			if raw[i] == '\r' && (i+1 == len(raw) || raw[i+1] != '\n') {
				first = i
				break
			}
		}
		_ = wantKind(t, err, connection.ErrConfig, fmt.Sprintf("octet %d ", first))
	}
}

// Edge case 15: no message ends early at a server that takes more than CRLF . CRLF for the end.
func TestSmuggling(t *testing.T) {
	evil := "MAIL FROM:<eve@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nevil\r\n.\r\n"
	for _, shape := range []string{"\n.\r\n", "\n.\n", "\r.\r", "\r\n.\r", "\r\n.\n", "\r.\r\n", "\n\n.\r\n", "\r\r\n.\r\n", "\r\n\x00.\r\n", "\r\n.\r\n"} {
		for _, how := range []string{smtpclient.BareCRReject, smtpclient.BareCRSpace, smtpclient.BareCRCRLF} {
			for _, path := range []string{smtpclient.PathDATA, smtpclient.PathAuto} {
				srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Quirks.SloppyEnd = true })
				cfg.BareCR, cfg.BodyPath = how, path
				c := open(t, cfg, nil)
				_, err := send(t, c, toBob, header+"text"+shape+evil)
				got := srv.Messages()
				if err == nil && len(got) != 1 || err != nil && len(got) != 0 {
					t.Errorf("%q, %s, %s: %d messages arrived, error %v", shape, how, path, len(got), err)
				}
				for _, m := range got {
					if m.From != ann {
						t.Errorf("%q: a message of %q arrived", shape, m.From)
					}
				}
			}
		}
	}
}

// Edge case 18: a server that offers BDAT and does not know it must not take a message for commands.
func TestBDATOfferedButUnknown(t *testing.T) {
	evil := header + "\r\nRSET\r\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nevil\r\n.\r\n"
	t.Run("500", func(t *testing.T) {
		srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Quirks.NoBDAT = true })
		var quirks int
		c := open(t, cfg, &connection.Env{Observe: func(ev connection.Event) {
			if ev.Kind == connection.EventQuirk {
				quirks++
			}
		}})
		mustSend(t, c, toBob, evil)
		mustSend(t, c, toBob, letter)
		wantArrived(t, srv, evil, letter)
		if n := len(srv.Commands("BDAT")); n != 1 || quirks != 1 {
			t.Errorf("BDAT was tried %d times, and told %d times", n, quirks)
		}
	})
	t.Run("closed", func(t *testing.T) {
		srv, cfg := plainServer(t, nil)
		srv.Drop("BDAT")
		mustSend(t, open(t, cfg, nil), toBob, evil)
		wantArrived(t, srv, evil)
	})
	t.Run("wanted", func(t *testing.T) {
		srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Quirks.NoBDAT = true })
		cfg.BodyPath = smtpclient.PathBDAT
		_, err := send(t, open(t, cfg, nil), toBob, evil)
		_ = wantKind(t, err, connection.ErrUnsupported, "body_path")
		wantArrived(t, srv)
	})
	t.Run("what DATA cannot carry", func(t *testing.T) {
		srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Quirks.NoBDAT = true })
		_, err := send(t, open(t, cfg, nil), toBob, evil+"\x00")
		_ = wantKind(t, err, connection.ErrUnsupported, "NUL")
		wantArrived(t, srv)
	})
}

// A refused chunk ends the transaction, and nothing arrives.
func TestChunkRefused(t *testing.T) {
	big := letter + strings.Repeat(strings.Repeat("x", 78)+"\r\n", 50_000)
	for name, command := range map[string]string{"first": "BDAT 1", "second": "BDAT 1048576", "last": "END"} {
		srv, cfg := plainServer(t, nil)
		srv.Fail(command, "452 4.3.1 no room", 1)
		c := open(t, cfg, nil)
		_, err := send(t, c, toBob, big)
		if _ = wantKind(t, err, connection.ErrUnavailable); len(srv.Messages()) > 0 {
			t.Errorf("%s: a message arrived", name)
		}
		mustSend(t, c, toBob, big)
		wantArrived(t, srv, big)
	}
}

// Edge case 16: 8-bit content.
func TestEightBit(t *testing.T) {
	srv, cfg := plainServer(t, func(o *smtptest.Options) { o.Without = []string{"8BITMIME", "CHUNKING", "BINARYMIME"} })
	c := open(t, cfg, nil)
	_, err := send(t, c, toBob, letter+"\xff")
	_ = wantKind(t, err, connection.ErrUnsupported, "eight_bit")
	if got := srv.Commands("MAIL"); len(got) > 0 {
		t.Errorf("got %v, want no MAIL", got)
	}
	mustSend(t, c, toBob, letter)
	cfg.EightBit = smtpclient.EightBitSendAnyway
	if r := mustSend(t, open(t, cfg, nil), toBob, letter+"\xff\r\n"); len(r.Rewritten) == 0 {
		t.Error("the receipt does not say that 8-bit content went without 8BITMIME")
	}
	wantArrived(t, srv, letter, letter+"\xff\r\n")
	if got := srv.Commands("MAIL"); strings.Contains(got[1].Args, "BODY") {
		t.Errorf("got %v, want no BODY", got[1])
	}
	for raw, want := range map[string]string{letter: "", letter + "\xff\r\n": "8BITMIME", letter + "\n": "BINARYMIME"} {
		srv, cfg := plainServer(t, nil)
		mustSend(t, open(t, cfg, nil), toBob, raw)
		if got := srv.Messages()[0].Params["BODY"]; got != want {
			t.Errorf("got BODY=%s, want %q", got, want)
		}
	}
}

// What DATA sends is what a simple, slow program would send, whatever the octets and wherever the pieces end.
func TestStuffingAgainstTheSlowWay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	srv, cfg := plainServer(t, nil)
	cfg.BodyPath, cfg.BareCR = smtpclient.PathDATA, smtpclient.BareCRCRLF
	c := open(t, cfg, nil)
	for range 60 {
		raw := make([]byte, rng.IntN(300_000))
		for i := range raw {
			raw[i] = "\r\n..ab"[rng.IntN(6)]
		}
		mustSend(t, c, toBob, string(raw))
		want := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(string(raw))
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\r\n"
		}
		all := srv.Messages()
		if got := all[len(all)-1].Raw; string(got) != want {
			t.Fatalf("%d octets became %d, want %d", len(raw), len(got), len(want))
		}
	}
}
