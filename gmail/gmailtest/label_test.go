package gmailtest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/gmail/gmailtest"
	gapi "google.golang.org/api/gmail/v1"
)

func TestLabels(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{})
	made, err := svc.Users.Labels.Create("me", &gapi.Label{Name: "Work/Projects", LabelListVisibility: "labelHide"}).Do()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(made.Id, "Label_") || made.Name != "Work/Projects" || made.Type != "user" || made.LabelListVisibility != "labelHide" {
		t.Errorf("got %+v", made)
	}
	odd := srv.AddLabel(ann, " odd\x01/ ")
	list, err := svc.Users.Labels.List("me").Do()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, l := range list.Labels {
		names[l.Id] = l.Name
		if system := !strings.HasPrefix(l.Id, "Label_"); system != (l.Type == "system") || system && l.Name != l.Id {
			t.Errorf("got %+v", l)
		}
	}
	if len(names) != 16 || names[made.Id] != "Work/Projects" || names[odd] != " odd\x01/ " || names["INBOX"] != "INBOX" || len(srv.Labels(ann)) != 16 {
		t.Errorf("got %v", names)
	}

	srv.DeliverWith(ann, letter("1"), gmailtest.Delivery{Labels: []string{made.Id, "UNREAD"}})
	srv.DeliverWith(ann, letter("2"), gmailtest.Delivery{Labels: []string{made.Id}})
	got, err := svc.Users.Labels.Get("me", made.Id).Do()
	if err != nil || got.MessagesTotal != 2 || got.MessagesUnread != 1 || got.ThreadsTotal != 2 || got.ThreadsUnread != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err = svc.Users.Labels.Patch("me", made.Id, &gapi.Label{Name: "Play"}).Do(); err != nil || srv.Labels(ann)[made.Id] != "Play" {
		t.Errorf("rename: got %v, %v", srv.Labels(ann)[made.Id], err)
	}
	if _, err = svc.Users.Labels.Update("me", made.Id, &gapi.Label{Name: "play", MessageListVisibility: "hide"}).Do(); err != nil || srv.Labels(ann)[made.Id] != "play" {
		t.Errorf("its own name in another case: got %v, %v", srv.Labels(ann)[made.Id], err)
	}
	if err = svc.Users.Labels.Delete("me", made.Id).Do(); err != nil {
		t.Fatal(err)
	}
	for _, m := range srv.Messages(ann) {
		for _, l := range m.Labels {
			if l == made.Id {
				t.Errorf("%s still has the label", m.ID)
			}
		}
	}
	_, err = svc.Users.Labels.Get("me", made.Id).Do()
	refusal(t, err, http.StatusNotFound, "notFound")
}

func TestLabelsRefused(t *testing.T) {
	srv, svc := mailbox(t, gmailtest.Options{AllowBadRequests: true})
	srv.AddLabel(ann, "Taken")
	for name, want := range map[string]struct {
		status int
		reason string
	}{
		"taken":                  {http.StatusConflict, "aborted"},
		"inbox":                  {http.StatusBadRequest, "invalidArgument"},
		" ":                      {http.StatusBadRequest, "invalidArgument"},
		"a\tb":                   {http.StatusBadRequest, "invalidArgument"},
		"/a":                     {http.StatusBadRequest, "invalidArgument"},
		strings.Repeat("ä", 226): {http.StatusBadRequest, "invalidArgument"},
	} {
		_, err := svc.Users.Labels.Create("me", &gapi.Label{Name: name}).Do()
		refusal(t, err, want.status, want.reason)
	}
	_, err := svc.Users.Labels.Patch("me", "INBOX", &gapi.Label{Name: "In"}).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	err = svc.Users.Labels.Delete("me", "INBOX").Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")

	mine := srv.AddLabel(ann, "Mine")
	_, err = svc.Users.Labels.Update("me", mine, &gapi.Label{}).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	_, err = svc.Users.Labels.Patch("me", mine, &gapi.Label{Name: "TAKEN"}).Do()
	refusal(t, err, http.StatusConflict, "aborted")
	_, err = svc.Users.Labels.Create("me", &gapi.Label{Name: "x", MessageListVisibility: "sometimes"}).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	err = svc.Users.Labels.Delete("me", "Label_9999").Do()
	refusal(t, err, http.StatusNotFound, "notFound")
	_, err = svc.Users.Labels.Update("me", "Label_9999", &gapi.Label{Name: "x"}).Do()
	refusal(t, err, http.StatusNotFound, "notFound")
	_, err = svc.Users.Labels.Create("me", &gapi.Label{Name: "x", LabelListVisibility: "sometimes"}).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")

	for i := range 10_000 - 2 {
		srv.AddLabel(ann, fmt.Sprint("label ", i))
	}
	_, err = svc.Users.Labels.Create("me", &gapi.Label{Name: "one too many"}).Do()
	refusal(t, err, http.StatusBadRequest, "invalidArgument")
	if list, err := svc.Users.Labels.List("me").Do(); err != nil || len(list.Labels) != 10_014 {
		t.Errorf("got %d labels, %v; want 10,000 and those of the system", len(list.Labels), err)
	}

	labels := gmail(t, srv, srv.Token(ann, gapi.GmailLabelsScope))
	if _, err := labels.Users.Labels.List("me").Do(); err != nil {
		t.Error(err)
	}
	_, err = labels.Users.Messages.List("me").Do()
	refusal(t, err, http.StatusForbidden, "insufficientPermissions")
}
