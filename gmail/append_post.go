package gmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

const (
	maxAppend   = 157_286_400 // octets of a message that is imported or inserted: 150 MiB
	maxSend     = 36_700_160  // octets of a message that is sent: 35 MiB
	maxJSON     = 4 << 20     // of a message that upload "auto" sends within JSON
	uploadChunk = 5 << 20     // of a media upload: a larger message goes in several requests
	maxAnswer   = 1 << 20
)

// answerFields is what is asked for of the message that was made.
const answerFields = "id,threadId,labelIds"

// A posting gives the server a message.
type posting struct {
	method string // "messages.import", "messages.insert", "messages.send"
	scope  string
	labels []string
	spam   bool   // import: may be classified as spam
	date   string // import and insert: internalDateSource
	vault  bool   // import and insert: for Vault alone
}

// post gives the server a message, once: it is repeated only after refusals. An error after which the message may be there
// is ErrUncertain.
func (c *Conn) post(ctx context.Context, b *box, p *posting, u *upload) (*gapi.Message, error) {
	var made *gapi.Message
	form := c.uploadForm(u)
	refused := false
	err := c.do(ctx, b, call{method: p.method, scope: p.scope, work: quota.Other}, func(ctx context.Context) (err error) {
		if form == UploadJSON {
			made, err = c.postJSON(ctx, p, u)
		} else {
			made, err = c.postMedia(ctx, p, u)
		}
		var api *googleapi.Error
		refused = errors.As(err, &api) && api.Code == http.StatusBadRequest
		if err == nil && made.Id == "" {
			err = &connection.Error{Kind: connection.ErrProtocol, Err: fmt.Errorf("the answer to %s names no message", p.method)}
		}
		return err
	})
	if err == nil {
		return made, nil
	}
	if own := u.failure(); own != nil {
		return nil, own
	}
	e := c.fail("", connection.Ref{}, err)
	switch whole := u.whole.Load(); {
	case ctx.Err() != nil && whole:
		// The last octet is under way: nobody knows whether it arrived.
		e.Kind = connection.ErrUncertain
	case e.Kind == connection.ErrUncertain && !whole:
		// A message whose end was never sent is not there.
		e.Kind = connection.ErrUnavailable
	case refused && form == UploadMedia && e.Hint == "" && e.Code != "invalidArgument": // that is about the message
		e.Hint = "upload: a server that refuses media uploads may take json"
	}
	if e.Kind == connection.ErrUncertain && e.Hint == "" {
		e.Hint = "look for the message in the mailbox before it is given to the server again"
	}
	return nil, e
}

// uploadForm returns in which form u is sent.
func (c *Conn) uploadForm(u *upload) string {
	switch form := c.cfg.upload(); {
	case form != UploadAuto:
		return form
	case u.length() <= maxJSON:
		return UploadJSON
	}
	return UploadMedia
}

// postJSON sends the message within one JSON object, and holds no more of it than a few KiB.
func (c *Conn) postJSON(ctx context.Context, p *posting, u *upload) (*gapi.Message, error) {
	front := `{"raw":"`
	if len(p.labels) > 0 {
		labels, err := json.Marshal(p.labels)
		if err != nil {
			return nil, err
		}
		front = `{"labelIds":` + string(labels) + `,"raw":"`
	}
	const back = `"}`
	body := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(front), &encoded{r: u.reader()}, strings.NewReader(back))), nil
	}
	first, _ := body()
	at := c.sites.gmail.String() + "/gmail/v1/users/me/messages" + p.path() + "?" + p.query().Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, first)
	if err != nil {
		return nil, err
	}
	req.GetBody, req.ContentLength = body, int64(len(front)+len(back))+encodedLen(u.length())
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := googleapi.CheckResponse(resp); err != nil {
		return nil, err
	}
	var made gapi.Message
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&made); err != nil {
		return nil, err
	}
	return &made, nil
}

// path is what stands behind ".../messages" in the method's URL.
func (p *posting) path() string {
	switch p.method {
	case "messages.import":
		return "/import"
	case "messages.send":
		return "/send"
	}
	return ""
}

func (p *posting) query() url.Values {
	q := url.Values{"alt": {"json"}, "prettyPrint": {"false"}, "fields": {answerFields}}
	if p.method == "messages.import" && !p.spam {
		q.Set("neverMarkSpam", "true")
	}
	if p.date != "" {
		q.Set("internalDateSource", p.date)
	}
	if p.vault {
		q.Set("deleted", "true")
	}
	return q
}

// postMedia sends the message as it is: in one multipart request, and if it is larger than a chunk in several requests,
// each of which the library repeats by itself.
func (c *Conn) postMedia(ctx context.Context, p *posting, u *upload) (*gapi.Message, error) {
	// The library would take the message for plain text, which the server refuses.
	media := []googleapi.MediaOption{googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(uploadChunk)}
	message := &gapi.Message{LabelIds: p.labels}
	switch p.method {
	case "messages.import":
		k := c.gmail.Users.Messages.Import("me", message).InternalDateSource(p.date).NeverMarkSpam(!p.spam)
		if p.vault {
			k.Deleted(true)
		}
		return k.Media(u.reader(), media...).Fields(answerFields).Context(ctx).Do()
	case "messages.insert":
		k := c.gmail.Users.Messages.Insert("me", message).InternalDateSource(p.date)
		if p.vault {
			k.Deleted(true)
		}
		return k.Media(u.reader(), media...).Fields(answerFields).Context(ctx).Do()
	}
	return c.gmail.Users.Messages.Send("me", message).Media(u.reader(), media...).Fields(answerFields).Context(ctx).Do()
}
