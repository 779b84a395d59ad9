package gmailtest

import (
	"slices"
	"strings"
	"time"
)

// A watching is what users.watch has set up.
type watching struct {
	topic  string
	labels []string
	until  time.Time
}

// watchLifetime is how long a watch lasts.
const watchLifetime = 7 * 24 * time.Hour

func (s *Server) startWatch(q *request) (any, error) {
	var body struct {
		Topic    string   `json:"topicName"`
		Labels   []string `json:"labelIds"`
		Action   string   `json:"labelFilterAction"`
		Behavior string   `json:"labelFilterBehavior"`
	}
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	if parts := strings.Split(body.Topic, "/"); len(parts) != 4 || parts[0] != "projects" || parts[2] != "topics" || slices.Contains(parts, "") {
		return nil, invalidArgument("Invalid topicName does not match projects/*/topics/*")
	}
	mb := q.user.box
	if err := mb.knowLabels(body.Labels); err != nil {
		return nil, err
	}
	until := s.now().Add(watchLifetime)
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.watch = &watching{body.Topic, body.Labels, until}
	return obj("historyId", s.opts.Mail.historyID(mb.told), "expiration", number64(until.UnixMilli())), nil
}

func (s *Server) stopWatch(q *request) (any, error) {
	mb := q.user.box
	mb.mu.Lock()
	defer mb.mu.Unlock()
	mb.watch = nil
	return nil, nil
}

// Watched returns the topic to which news of a mailbox would be pushed; "" if users.watch was not called, or has expired.
func (s *Server) Watched(mailbox string) string {
	mb, now := s.mustBox(mailbox), s.now()
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.watch == nil || !now.Before(mb.watch.until) {
		return ""
	}
	return mb.watch.topic
}
