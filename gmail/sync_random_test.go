package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const randomSeeds = 50

// Whatever happens to the mailboxes of a domain, to the line, to the quota and to the program, what a host has in the end is
// what the mailboxes hold. Nothing waits: all is in bubbles of testing/synctest.
func TestSyncRandom(t *testing.T) {
	seeds := make(chan uint64)
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for seed := range seeds {
					synctest.Test(t, func(t *testing.T) { newDomain(t, seed).run() })
				}
			})
		}
		go func() {
			defer close(seeds)
			for seed := range uint64(randomSeeds) {
				seeds <- seed
			}
		}()
	})
}

// A randomDomain is a domain in which things happen, and a host that follows it.
type randomDomain struct {
	*gmailtest.Server
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	cfg   gmail.Config
	users []string // ids
	count int      // messages delivered
	host  *randomHost
	cps   connection.MemoryCheckpoints
}

func newDomain(t *testing.T, seed uint64) *randomDomain {
	rng := rand.New(rand.NewPCG(seed, 7))
	d := &randomDomain{
		t: t, seed: seed, rng: rng, host: &randomHost{boxes: make(map[string]*randomBox)},
		Server: gmailtest.NewServer(t, &gmailtest.Options{
			Memory: true, Seed: seed, AllowBadRequests: true,
			Quota:     gmailtest.Quota{PerUser: 6000, Project: 1_200_000, Concurrent: 10},
			Mail:      gmailtest.MailOptions{HistoryLabels: rng.IntN(2) == 0, OffsetPages: rng.IntN(2) == 0, WideHistoryIDs: rng.IntN(4) == 0},
			Rendering: gmailtest.Rendering{Shuffle: rng.IntN(4) == 0, NoGzip: rng.IntN(2) == 0},
		}),
	}
	for i := range randomMailboxes {
		id := d.AddUser(gmailtest.User{Email: fmt.Sprintf("user%d@corp.example", i)})
		d.users = append(d.users, id)
		for range rng.IntN(3) {
			d.deliver(id)
		}
		if rng.IntN(3) == 0 {
			d.AddLabel(id, fmt.Sprintf("Label %d", i))
		}
	}
	d.cfg = gmail.Config{
		Admin: adminAddress, Endpoint: d.URL(), CustomEndpoints: true, PageSize: 1 + rng.IntN(6), IncludeDrafts: rng.IntN(4) == 0,
		NoDataTimeout: connection.Duration(time.Minute), ResponseTimeout: connection.Duration(time.Minute),
	}
	return d
}

func (d *randomDomain) user() string { return d.users[d.rng.IntN(len(d.users))] }

func (d *randomDomain) deliver(user string) {
	d.count++
	raw := fmt.Appendf(nil, "From: bob@corp.example\r\nSubject: number %d\r\n\r\n%s\r\n", d.count, strings.Repeat("y", d.rng.IntN(300)))
	labels := [][]string{nil, {"INBOX"}, {"SENT"}, {}, {"SPAM", "UNREAD"}, {"DRAFT"}, {"INBOX", "STARRED", "CATEGORY_UPDATES"}}
	d.DeliverWith(user, raw, gmailtest.Delivery{Labels: labels[d.rng.IntN(len(labels))]})
}

func (d *randomDomain) run() {
	d.mirror(nil, true)
	for range 2 {
		touched := map[string]bool{}
		for range 40 {
			user := d.user()
			touched[user] = true
			d.live(user)
		}
		d.trouble()
		d.mirror(touched, true)
	}
	d.Heal()
	for _, id := range d.users {
		d.Suspend(id, false)
	}
	<-time.After(2 * time.Hour) // what was lost twice within an hour is left alone for a while
	d.mirror(nil, false)
	d.compare()
	for _, user := range d.users {
		if most := d.MostUnits(user, time.Minute); most > 6000 {
			d.t.Errorf("%d units were spent on a user within a minute, want at most 6000", most)
		}
	}
}

// live lets something happen in a mailbox.
func (d *randomDomain) live(user string) {
	all := d.Messages(user)
	labels := map[string]bool{"STARRED": true, "UNREAD": true, "IMPORTANT": true}
	var own []string
	for id := range d.Labels(user) {
		if strings.HasPrefix(id, "Label_") {
			own = append(own, id)
			labels[id] = true
		}
	}
	slices.Sort(own)
	action := d.rng.IntN(14)
	if len(all) == 0 || action < 4 {
		d.deliver(user)
		return
	}
	m := all[d.rng.IntN(len(all))]
	switch {
	case action < 6:
		d.Remove(user, m.ID)
	case action == 6:
		d.SetLabels(user, m.ID, []string{"TRASH"}, []string{"INBOX"})
	case action == 7:
		d.SetLabels(user, m.ID, []string{"INBOX"}, []string{"TRASH", "SPAM"})
	case action == 8 && len(own) > 0:
		d.RenameLabel(user, own[0], fmt.Sprintf("Renamed %d", d.rng.IntN(1000)))
	case action == 9 && len(own) > 1:
		d.RemoveLabel(user, own[0])
	case action == 10:
		d.AddLabel(user, fmt.Sprintf("New %d", d.rng.IntN(1000)))
	case action == 11:
		d.ExpireHistory(user)
	case action == 12 && d.rng.IntN(4) == 0:
		d.Suspend(user, true)
	case action == 13 && d.rng.IntN(4) == 0:
		d.RenameUser(user, fmt.Sprintf("renamed%d@corp.example", d.rng.IntN(1<<30)))
	default:
		ids := slices.Sorted(func(yield func(string) bool) {
			for id := range labels {
				if !yield(id) {
					return
				}
			}
		})
		id := ids[d.rng.IntN(len(ids))]
		if slices.Contains(m.Labels, id) {
			d.SetLabels(user, m.ID, nil, []string{id})
		} else {
			d.SetLabels(user, m.ID, []string{id}, nil)
		}
	}
}

// trouble lets some requests fail from now on.
func (d *randomDomain) trouble() {
	d.Heal()
	kinds := []gmailtest.Fault{
		gmailtest.Status(503, `{"error":{"code":503,"message":"Backend Error","errors":[{"reason":"backendError"}]}}`), gmailtest.Cut(int64(d.rng.IntN(400))),
		gmailtest.HangUp(), gmailtest.Lose(), gmailtest.TooManyConcurrent(), gmailtest.RetryAfter(time.Now().Add(20 * time.Second)),
		gmailtest.Refuse(403, "userRateLimitExceeded", "User Rate Limit Exceeded"), gmailtest.StallAfter(10),
	}
	methods := []string{"*", "messages.get", "history.list", "messages.list", "getProfile"}
	for range 2 {
		d.Fail(gmailtest.On(methods[d.rng.IntN(len(methods))]).Chance(0.03), kinds[d.rng.IntN(len(kinds))])
	}
	switch d.rng.IntN(6) {
	case 0:
		d.RevokeTokens("")
	case 1:
		d.ExpirePageTokens(d.user())
	case 2:
		d.Fail(gmailtest.On("messages.list").Times(3), gmailtest.Do(func(q gmailtest.Request) { d.Deliver(q.UserID, []byte("Subject: number 0\r\n\r\nin between\r\n")) }))
	}
}

// mirror follows mailboxes with a new connection: those of touched, or all if that is nil. With kills it is killed at times.
func (d *randomDomain) mirror(touched map[string]bool, kills bool) {
	env := d.Env()
	env.Token = func(_ context.Context, r connection.TokenRequest) (connection.Secret, error) {
		return connection.NewSecret(d.Token(r.Mailbox, r.Scopes...)), nil
	}
	c, err := gmail.Open(d.cfg, env)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			d.t.Error(err)
		}
	}()
	ctx, kill := context.WithCancel(d.t.Context())
	defer kill()
	d.host.kill, d.host.left = kill, 1<<30
	if kills && d.rng.IntN(2) == 0 {
		d.host.left = d.rng.IntN(300)
	}
	_, err = connection.Mirror(ctx, c, d.host, &d.cps, &connection.MirrorOptions{
		Workers: 8, Match: func(m *connection.Mailbox) bool { return touched == nil || touched[m.Name] },
	})
	if err != nil && !kills {
		d.t.Errorf("the last mirror: %v", err)
	}
}

// compare holds what the host has against the mailboxes.
func (d *randomDomain) compare() {
	d.t.Helper()
	for _, user := range d.users {
		names := d.Labels(user)
		box := d.host.box(user)
		there := map[string]bool{}
		for _, m := range d.Messages(user) {
			there[m.ID] = true
			got, has := box.messages[connection.Ref{Mailbox: user, ID: m.ID}]
			leftOut := slices.ContainsFunc(m.Labels, func(id string) bool { return id == "SPAM" || id == "TRASH" || id == "DRAFT" && !d.cfg.IncludeDrafts })
			switch want := paths(m.Labels, names); {
			case !has && !leftOut:
				d.t.Errorf("seed %d, user %s: message %s with labels %q is missing", d.seed, user, m.ID, m.Labels)
			case !has:
			case got.raw != string(m.Raw):
				d.t.Errorf("seed %d, user %s: message %s is %q, want %q", d.seed, user, m.ID, got.raw, m.Raw)
			case !slices.Equal(got.labels, want):
				d.t.Errorf("seed %d, user %s: message %s has labels %q, want %q", d.seed, user, m.ID, got.labels, want)
			case slices.Contains(got.flags, connection.FlagFlagged) != slices.Contains(m.Labels, "STARRED"),
				slices.Contains(got.flags, connection.FlagSeen) == slices.Contains(m.Labels, "UNREAD"):
				d.t.Errorf("seed %d, user %s: message %s has flags %q, want those of %q", d.seed, user, m.ID, got.flags, m.Labels)
			}
		}
		for ref := range box.messages {
			if !there[ref.ID] {
				d.t.Errorf("seed %d, user %s: message %s is gone, and the host has it", d.seed, user, ref.ID)
			}
		}
	}
}

// A randomHost keeps many mailboxes.
type randomHost struct {
	mu    sync.Mutex
	boxes map[string]*randomBox
	left  int // changes until it is killed
	kill  func()
}

// A randomBox is what it keeps of one.
type randomBox = hostCopy

func (h *randomHost) box(mailbox string) *randomBox {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.boxes[mailbox] == nil {
		h.boxes[mailbox] = newHostCopy()
	}
	return h.boxes[mailbox]
}

var errKilled = errors.New("killed")

func (h *randomHost) Store(_ context.Context, mailbox string, c *connection.Change) error {
	h.mu.Lock()
	h.left--
	dead := h.left < 0
	h.mu.Unlock()
	if dead {
		h.kill()
		return errKilled
	}
	b := h.box(mailbox)
	if c.Message == nil || c.Message.Body == nil {
		return b.store(c, "")
	}
	raw, err := io.ReadAll(c.Message.Body)
	if err != nil {
		return err
	}
	return b.store(c, string(raw))
}

func (h *randomHost) Known(_ context.Context, mailbox string, refs []connection.Ref) ([]bool, error) {
	b := h.box(mailbox)
	has := make([]bool, len(refs))
	for i, ref := range refs {
		_, has[i] = b.messages[ref]
	}
	return has, nil
}

func (h *randomHost) Refs(_ context.Context, mailbox string) iter.Seq2[connection.Ref, error] {
	return func(yield func(connection.Ref, error) bool) {
		for ref := range h.box(mailbox).messages {
			if !yield(ref, nil) {
				return
			}
		}
	}
}
