package imapclient_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/imapclient/imaptest"
)

// hostileCanary is the password of these tests.
const hostileCanary = "c4nary-Pa55w0rd"

// hostileLines are what a server may say that means harm, or nothing.
var hostileLines = []string{
	"", " ", "*", "* ", "* 1", "+", "+ ", "+ aGVsbG8=", "~", "\x00\x00", "\xff\xfe", "T1", "T1 OK", "T2 NO", "T3 BAD", "T999 OK done", "P1 OK", "P2 NO",
	"* BYE", "* BYE [ALERT] go", "* PREAUTH hi", "* BAD", "* NO [", "* OK [UIDVALIDITY x", "* OK [UIDVALIDITY 2] x", "* OK [UIDVALIDITY 99999999999] x", "* OK [UIDVALIDITY] x",
	"* 0 EXPUNGE", "* 1 EXPUNGE", "* 4294967295 EXPUNGE", "* 4294967295 EXISTS", "* 4294967296 EXISTS", "* 0 EXISTS", "* VANISHED 1:*", "* 1 FETCH ()", "* 1 FETCH (UID 1)",
	"* 1 FETCH (UID 1 BODY[] NIL)", "* 1 FETCH (BODY[] NIL UID 2)", "* 1 FETCH (FLAGS (\\Seen))", "* 1 FETCH (UID 2 FLAGS (\\))", "* 1 FETCH (BODYSTRUCTURE " + strings.Repeat("(", 100),
	"* 1 FETCH " + strings.Repeat("(", 60), "* 1 FETCH (X-EVIL {3}\r\nabc)", "* CAPABILITY X (", "* ENABLED X(", "* SEARCH 5 4 3 2 1 (", "* SEARCH", "* SEARCH 1 2 3 4 5 6 7 8 9", "* SEARCH 4294967295 4294967296",
	"* ESEARCH (TAG \"T1\") UID ALL 4294967295:1", "* ESEARCH (TAG \"T4\") UID ALL 1:*", "* LIST () \"\" {3}\r\na\r\n", "* LIST (\\Noselect) \"/\" INBOX", "* LIST () NIL \"R&D\"", "* LIST () \"/\" \"" + hostileCanary + "\"", "* LIST ((((",
	"* OK [COPYUID 1 1:4294967295 1:4294967295] x", "* OK [COPYUID 1 * *]", "* OK [APPENDUID 1 x]", "* OK [HIGHESTMODSEQ 99999999999999999999] x", "* OK [READ-ONLY]", "* OK [PERMANENTFLAGS (\\Seen)] x",
	"* OK [PERMANENTFLAGS (", "* FLAGS (\\)", "* NAMESPACE ((((", "* STATUS INBOX (MESSAGES 1 UIDNEXT 99999999999)", "* STATUS {2}\r\nab (", "* ID (\"a\" NIL)",
	"* NO LOGIN archive " + hostileCanary + " is wrong", "* BAD [" + hostileCanary + "] x", "* OK [ALERT] \"" + strings.ToUpper(hostileCanary) + "\"", "* BYE " + hostileCanary, "* CAPABILITY IMAP4rev1 AUTH=" + hostileCanary,
	"* OK [UIDVALIDITY " + hostileCanary + "] x", "* OK " + strings.Repeat("x", 1015) + hostileCanary, "* NO [REFERRAL imap://" + hostileCanary + "@other/] x",
}

var (
	hostileNumber  = regexp.MustCompile(`\d+`)
	hostileLiteral = regexp.MustCompile(`\{(\d+)\}\r\n$`)
)

// A meddler passes what an honest server says to the client, and changes some of it. Bodies pass as they are.
type meddler struct {
	rnd    *rand.Rand
	honest bool // no octets, numbers and lines are changed that the client has to believe
	rate   int  // percent of lines that are touched
}

// meddle copies until it does not want to go on.
func (m *meddler) meddle(to io.Writer, from *bufio.Reader) error {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return err
		}
		size := 0
		if announced := hostileLiteral.FindStringSubmatch(line); announced != nil {
			size, _ = strconv.Atoi(announced[1])
		}
		literal := make([]byte, size)
		if _, err := io.ReadFull(from, literal); err != nil {
			return err
		}
		if m.rnd.IntN(100) < m.rate {
			if line, err = m.change(line); err != nil {
				_, _ = io.WriteString(to, line)
				return err
			}
		}
		if _, err := io.WriteString(to, line+string(literal)); err != nil {
			return err
		}
	}
}

var errStall = errors.New("stall")

func (m *meddler) change(line string) (string, error) {
	n := 9
	if m.honest {
		n = 5
	}
	switch m.rnd.IntN(n) {
	case 0, 1:
		return hostileLines[m.rnd.IntN(len(hostileLines))] + "\r\n" + line, nil
	case 2:
		sizes := []string{"{%d}", "{-%d}", "{+%d}", "{%d00000000000000000000}", "{%d+}", "~{%d}"}
		return hostileLiteral.ReplaceAllStringFunc(line, func(s string) string {
			size, _ := strconv.Atoi(s[1 : len(s)-3])
			return fmt.Sprintf(sizes[m.rnd.IntN(len(sizes))], max(0, size+m.rnd.IntN(80)-40)) + "\r\n"
		}), nil
	case 3:
		return line[:m.rnd.IntN(len(line))], io.EOF
	case 4:
		if m.rnd.IntN(4) > 0 {
			return line, nil
		}
		return line[:m.rnd.IntN(len(line))], errStall
	case 5:
		b := []byte(line)
		b[m.rnd.IntN(len(b))] ^= 1 << m.rnd.IntN(8)
		return string(b), nil
	case 6:
		return line + line, nil
	case 7:
		return "", nil
	}
	numbers := []string{"0", "1", "4294967295", "4294967296", "-1", "18446744073709551616", "", "*"}
	return hostileNumber.ReplaceAllStringFunc(line, func(s string) string {
		if m.rnd.IntN(2) == 0 {
			return s
		}
		return numbers[m.rnd.IntN(len(numbers))]
	}), nil
}

// dialer returns an Env.Dial whose connections are meddled with.
func (m *meddler) dialer(running *sync.WaitGroup) connection.DialFunc {
	var mu sync.Mutex
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		server, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		one := &meddler{rnd: rand.New(rand.NewPCG(m.rnd.Uint64(), 1)), honest: m.honest, rate: m.rate}
		mu.Unlock()
		client, inner := net.Pipe()
		running.Go(func() {
			defer func() { _ = server.Close() }()
			_, _ = io.Copy(server, inner)
		})
		running.Go(func() {
			if err := one.meddle(inner, bufio.NewReader(server)); errors.Is(err, errStall) {
				_, _ = io.Copy(io.Discard, server) // until the client leaves
			}
			_ = inner.Close()
			_ = server.Close()
		})
		return client, nil
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// hostileRun lets all verbs meet a server that is meddled with.
func hostileRun(t *testing.T, seed uint64, honest bool) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	srv := imaptest.NewServer(t, &imaptest.Options{
		Mode: connection.ModeInsecure, Password: hostileCanary, Without: [][]string{nil, {"UIDPLUS"}, {"MOVE"}, {"IDLE"}, {"LITERAL+"}}[rnd.IntN(5)],
		Folders: []imaptest.Folder{{Name: "Trash", Attributes: []string{`\Trash`}}, {Name: "a/b"}},
	})
	whole := map[string]bool{}
	for i := range 7 {
		raw := fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n) UID 3 {9}\r\n", i, strings.Repeat("x", rnd.IntN(3000)))
		whole[raw] = true
		srv.Deliver([]byte(raw))
	}
	cfg := srv.Config()
	cfg.AllowPlaintextAuth, cfg.Compress = true, imapclient.CompressOff
	cfg.NoDataTimeout, cfg.ConnectTimeout = connection.Duration(hostilePatience), connection.Duration(hostilePatience)
	cfg.DeleteMode = []string{imapclient.DeleteExpunge, imapclient.DeleteTrash, imapclient.DeleteFlag, imapclient.DeleteSeen}[rnd.IntN(4)]
	cfg.ExpungeEvery, cfg.MessagesPerCycle, cfg.MaxAttempts = rnd.IntN(3), 1+rnd.IntN(5), 2
	cfg.PartialFetch, cfg.ChunkSize = rnd.IntN(3) == 0, 4096
	cfg.MaxSessions = rnd.IntN(3)
	var printed lockedBuffer
	var running sync.WaitGroup
	m := &meddler{rnd: rnd, honest: honest, rate: 1 + rnd.IntN(12)}
	env := &connection.Env{
		Dial:    m.dialer(&running),
		Logger:  slog.New(slog.NewTextHandler(&printed, &slog.HandlerOptions{Level: connection.LevelTrace})),
		Observe: func(e connection.Event) { _, _ = fmt.Fprintf(&printed, "%+v\n", e) },
	}
	c := open(t, cfg, env)
	note := func(err error) {
		if err == nil {
			return
		}
		_, _ = fmt.Fprintf(&printed, "%v %+v %#v\n", err, err, err)
		if !errors.As(err, new(*connection.Error)) {
			t.Errorf("seed %d: no *Error: %v", seed, err)
		}
		for e := range connection.Errors(err) {
			if e.Op == "" || e.Driver != "imap" || e.Kind == connection.ErrUnknown {
				t.Errorf("seed %d: an error without a class: %#v", seed, e)
			}
		}
	}
	timed := func(verb string, do func(context.Context)) {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		began := time.Now()
		do(ctx)
		if ctx.Err() != nil || time.Since(began) > 30*time.Second {
			t.Errorf("seed %d: %s took %s", seed, verb, time.Since(began))
		}
	}
	stored := map[string]bool{}
	var refs []connection.Ref
	timed("test", func(ctx context.Context) {
		r, err := c.Test(ctx, nil)
		note(err)
		asJSON, _ := json.Marshal(r)
		_, _ = fmt.Fprintf(&printed, "%s %s %+v\n", r, asJSON, r)
	})
	timed("folders", func(ctx context.Context) {
		for _, err := range c.Folders(ctx, "") {
			note(err)
		}
	})
	for range 2 {
		timed("fetch", func(ctx context.Context) {
			for msg, err := range c.Fetch(ctx, nil) {
				note(err)
				if err != nil {
					continue
				}
				raw, err := io.ReadAll(msg.Body)
				note(err)
				switch {
				case err != nil:
				case honest && !whole[string(raw)]:
					t.Errorf("seed %d: a body that no message has: %.80q … %.80q", seed, raw, raw[max(0, len(raw)-80):])
				default:
					stored[string(raw)] = true
					refs = append(refs, msg.Ref)
				}
			}
		})
		if len(refs) > 0 {
			timed("open", func(ctx context.Context) {
				msg, err := c.Open(ctx, refs[0])
				note(err)
				if err == nil {
					_, err = io.Copy(io.Discard, msg.Body)
					note(err)
					if body, ok := msg.Body.(io.Closer); ok {
						note(body.Close())
					}
				}
			})
		}
		timed("delete", func(ctx context.Context) { note(c.Delete(ctx, refs...)) })
	}
	timed("close", func(context.Context) { note(c.Close()) })
	running.Wait()
	if honest {
		left := map[string]bool{}
		for _, f := range []string{"INBOX", "Trash"} {
			for _, msg := range srv.MessagesIn(f) {
				left[string(msg.Raw)] = true
			}
		}
		for raw := range whole {
			if !left[raw] && !stored[raw] {
				t.Errorf("seed %d: %.20q is lost", seed, raw)
			}
		}
	}
	text := printed.buf.String()
	for _, secret := range []string{hostileCanary[:8], strings.ToUpper(hostileCanary[:8])} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("seed %d: the password was printed: %s", seed, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// hostilePatience is the no-data timeout of these tests, hostileRuns how many servers they meet.
const (
	hostilePatience = 300 * time.Millisecond
	hostileRuns     = 120
)

// TestHostile lets the verbs meet servers that say what they should not. Whatever that is, no verb hangs, every error has
// a class, no password is printed, and no goroutine is left; and as long as the server does not lie, every body is one
// that a message has, and each message is stored or still there.
func TestHostile(t *testing.T) {
	var running sync.WaitGroup
	var next atomic.Uint64
	for range 6 {
		running.Go(func() {
			for !t.Failed() {
				seed := next.Add(1)
				if seed > hostileRuns {
					return
				}
				hostileRun(t, seed, seed%2 == 0)
			}
		})
	}
	running.Wait()
	noGoroutines(t)
}
