package gmail_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

const topic = "projects/archive-1/topics/mail"

func TestWatch(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		r.AddLabel(ann, "Projects/2026")
		watching, err := r.conn.Watch(t.Context(), ann, topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(watching.Expires); left < 6*24*time.Hour || left > 7*24*time.Hour || watching.HistoryID == "" || watching.HistoryID == "0" {
			t.Errorf("got %+v", watching)
		}
		if got := r.Watched(ann); got != topic {
			t.Errorf("got %q, want %q", got, topic)
		}
		if _, err := r.conn.Watch(t.Context(), r.id, topic+"2", &gmail.WatchOptions{Folders: []string{"Projects/2026", `\Junk`}, Exclude: true}); err != nil {
			t.Fatal(err)
		}
		if got := r.Watched(ann); got != topic+"2" {
			t.Errorf("got %q, want the newer one", got)
		}
		for range 2 {
			if err := r.conn.Stop(t.Context(), ann); err != nil {
				t.Error(err)
			}
		}
		if got := r.Watched(ann); got != "" {
			t.Errorf("got %q after Stop", got)
		}
	})
}

func TestWatchRefused(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		refused := gmailtest.Refuse(http.StatusForbidden, "forbidden", "Error sending test message to Cloud PubSub "+topic+" : User not authorized to perform this action.")
		for _, test := range []struct {
			name, mailbox, topic string
			folders              []string
			fault                *gmailtest.Fault
			want                 connection.Kind
			hint                 string
		}{
			{name: "no topic", mailbox: ann, topic: "mail", want: connection.ErrInvalid},
			{name: "empty project", mailbox: ann, topic: "projects//topics/x", want: connection.ErrInvalid},
			{name: "no mailbox", topic: topic, want: connection.ErrConfig},
			{name: "unknown mailbox", mailbox: "nobody@corp.example", topic: topic, want: connection.ErrNotFound},
			{name: "unknown folder", mailbox: ann, topic: topic, folders: []string{"Nowhere"}, want: connection.ErrNotFound, hint: "Folders"},
			{name: "no label", mailbox: ann, topic: topic, folders: []string{"Archive"}, want: connection.ErrNotFound, hint: "Folders"},
			{name: "no publisher", mailbox: ann, topic: topic, fault: &refused, want: connection.ErrPermission, hint: "gmail-api-push@system.gserviceaccount.com"},
		} {
			r.Heal()
			if test.fault != nil {
				r.Fail(gmailtest.On("watch"), *test.fault)
			}
			_, err := r.conn.Watch(t.Context(), test.mailbox, test.topic, &gmail.WatchOptions{Folders: test.folders})
			var e *connection.Error
			if !errors.As(err, &e) || e.Kind != test.want || e.Op != "watch" || e.Driver != "gmail" || !strings.Contains(e.Hint, test.hint) {
				t.Errorf("%s: got %v, want %v", test.name, err, test.want)
			}
		}
		if got := r.Watched(ann); got != "" {
			t.Errorf("got %q", got)
		}
		if err := r.conn.Stop(t.Context(), "nobody@corp.example"); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

// Notify shortens the wait of a Fetch that follows a mailbox; polling finds what nobody has told.
func TestNotify(t *testing.T) {
	slow := func(cfg *gmail.Config) {
		cfg.PollInterval, cfg.PollIntervalMax = connection.Duration(time.Hour), connection.Duration(time.Hour)
	}
	inBubble(t, nil, slow, func(t *testing.T, r *syncRig) {
		if r.conn.Notify(ann, "1") {
			t.Error("somebody follows the mailbox before Fetch")
		}
		r.Deliver(ann, mail(1)...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		arrived := make(chan time.Time)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for _, err := range r.conn.Fetch(ctx, &connection.FetchOptions{Mailbox: ann, Follow: true}) {
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				arrived <- time.Now()
			}
		}()
		<-arrived
		synctest.Wait() // it waits for more
		for _, told := range []bool{true, false} {
			began := time.Now()
			<-time.After(time.Minute)
			r.Deliver(ann, mail(1)...)
			want := time.Hour // or less
			if told {
				if !r.conn.Notify("ANN@corp.example", fmt.Sprint(r.HistoryID(ann))) {
					t.Error("nobody follows the mailbox")
				}
				want = 2 * time.Minute
			}
			if passed := (<-arrived).Sub(began); passed > want {
				t.Errorf("told %v: it took %s, want at most %s", told, passed, want)
			}
			synctest.Wait()
		}
		cancel()
		<-ended
		if r.conn.Notify(ann, "") {
			t.Error("somebody follows the mailbox after Fetch")
		}
	})
}
