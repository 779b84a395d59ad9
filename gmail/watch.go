package gmail

import (
	"context"
	"fmt"
	"strings"
	"time"

	gapi "google.golang.org/api/gmail/v1"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// WatchOptions are the options of [Conn.Watch].
type WatchOptions struct {
	// Folders, by name, id or special use, limit the news to messages in them; empty means all messages.
	Folders []string
	// Exclude turns Folders round: news of messages in them are left out.
	Exclude bool
}

// A Watching is what Gmail has promised.
type Watching struct {
	HistoryID string    // the mailbox's newest, as decimal text: news are of what comes behind it
	Expires   time.Time // when the news end, at most 7 days ahead: call Watch again each day
}

// Watch makes Gmail publish news of a mailbox ("" in single-mailbox use) to a topic of Cloud Pub/Sub: users.watch, for 100
// units. topic is "projects/PROJECT/topics/NAME", in the very Google project of the credentials, and
// gmail-api-push@system.gserviceaccount.com must be a publisher of it. To receive what is published is the host's part; it
// gives what it receives to [Conn.Notify]. A mailbox has one watch of each project: the newest. opts may be nil.
//
// News shorten the wait for the next look and are no more than that: Gmail drops some, so polling goes on.
func (c *Conn) Watch(ctx context.Context, mailbox, topic string, opts *WatchOptions) (*Watching, error) {
	const op = "watch"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return nil, err
	}
	defer leave()
	if parts := strings.Split(topic, "/"); len(parts) != 4 || parts[0] != "projects" || parts[1] == "" || parts[2] != "topics" || parts[3] == "" {
		return nil, c.problem(op, connection.Ref{}, connection.ErrInvalid, "topic %q: want projects/PROJECT/topics/NAME", topic)
	}
	b, err := c.box(ctx, mailbox)
	if err != nil {
		return nil, c.failMailbox(op, mailbox, err)
	}
	watching, err := c.watch(ctx, b, topic, opts)
	if err != nil {
		e := c.failMailbox(op, mailbox, err)
		switch e.Kind {
		case connection.ErrPermission, connection.ErrNotFound, connection.ErrInvalid, connection.ErrConfig, connection.ErrRejected:
			if e.Hint == "" {
				e.Hint = "the topic must exist in the Google project of the credentials, with gmail-api-push@system.gserviceaccount.com as a Pub/Sub Publisher"
			}
		default:
		}
		return nil, e
	}
	return watching, nil
}

func (c *Conn) watch(ctx context.Context, b *box, topic string, opts *WatchOptions) (*Watching, error) {
	request := &gapi.WatchRequest{TopicName: topic}
	if opts != nil && len(opts.Folders) > 0 {
		labels, err := c.labels(ctx, b)
		if err != nil {
			return nil, err
		}
		for _, folder := range opts.Folders {
			id, ok := labels.id(folder)
			if !ok || id == "" { // no label stands for what is archived
				return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrNotFound, Err: fmt.Errorf("folder %q has no label", folder), Hint: "name folders as Folders does"}
			}
			request.LabelIds = append(request.LabelIds, id)
		}
		request.LabelFilterBehavior = "include"
		if opts.Exclude {
			request.LabelFilterBehavior = "exclude"
		}
	}
	var answer *gapi.WatchResponse
	err := c.do(ctx, b, call{method: "watch", scope: scopeRead, safe: true, work: quota.Other}, func(ctx context.Context) (err error) {
		answer, err = c.gmail.Users.Watch("me", request).Context(ctx).Do()
		return err
	})
	if err != nil {
		return nil, err
	}
	watching := &Watching{HistoryID: fmt.Sprint(answer.HistoryId)}
	if answer.Expiration > 0 {
		watching.Expires = time.UnixMilli(answer.Expiration)
	}
	return watching, nil
}

// Stop ends the watch of a mailbox ("" in single-mailbox use), for 50 units. A mailbox without one is no error.
func (c *Conn) Stop(ctx context.Context, mailbox string) error {
	const op = "stop"
	ctx, leave, err := c.enter(ctx, op)
	if err != nil {
		return err
	}
	defer leave()
	b, err := c.box(ctx, mailbox)
	if err != nil {
		return c.failMailbox(op, mailbox, err)
	}
	err = c.do(ctx, b, call{method: "stop", scope: scopeRead, safe: true, work: quota.Other}, func(ctx context.Context) error {
		return c.gmail.Users.Stop("me").Context(ctx).Do()
	})
	if err != nil {
		return c.failMailbox(op, mailbox, err)
	}
	return nil
}

// Notify tells that there is news of a mailbox, as Gmail has published it: {"emailAddress": mailbox, "historyId": historyID}.
// A Fetch with Follow that waits there looks at once, unless it has seen that historyID ("" = unknown) already. Notify does no
// I/O, and reports whether a Fetch follows this mailbox; if none does, a host that runs Sync itself may want to do so now.
func (c *Conn) Notify(mailbox, historyID string) bool {
	if !c.domainUse() {
		mailbox = "" // there is only one
	}
	return c.news.tell(mailbox, historyID)
}
