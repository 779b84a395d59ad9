package gmail

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/internal/quota"
)

// folder finds the label that the message is to have, and makes it if that is wanted. cached says that it is known from
// before, and may be gone.
func (a *appending) folder() (cached bool, err error) {
	if a.path == "" {
		return false, &connection.Error{Kind: connection.ErrInvalid, Err: errors.New("no folder given")}
	}
	c := a.conn
	set, age := c.labelCache.get(a.box, c.now())
	if age >= labelsAge {
		set = nil // a label may have another name by now
	}
	cached = set != nil
	for {
		if set == nil {
			if set, err = c.labelSet(a.ctx, a.box); err != nil {
				return false, err
			}
		}
		if id, ok := set.id(a.path); ok {
			a.label = id
			return cached && !systemID(id), nil
		}
		if !cached {
			break
		}
		set, cached = nil, false
	}
	if !a.opts.CreateFolder {
		return false, &connection.Error{Kind: connection.ErrNotFound, Err: errors.New("there is no such label")}
	}
	return false, a.create()
}

// create makes the label of the folder.
func (a *appending) create() error {
	c := a.conn
	var made *gapi.Label
	taken := false
	err := c.do(a.ctx, a.box, call{method: "labels.create", scope: scopeLabels, safe: true, work: quota.Other}, func(ctx context.Context) (err error) {
		label := &gapi.Label{Name: labelName(a.path, c.cfg.folderDelimiter()), LabelListVisibility: "labelShow", MessageListVisibility: "show"}
		made, err = c.gmail.Users.Labels.Create("me", label).Fields("id").Context(ctx).Do()
		var api *googleapi.Error
		// Somebody else was faster, or an earlier attempt whose answer was lost.
		taken = errors.As(err, &api) && api.Code == http.StatusConflict
		return err
	})
	c.forgetLabels(a.box)
	if taken {
		set, err := c.labelSet(a.ctx, a.box)
		if err != nil {
			return err
		}
		if id, ok := set.id(a.path); ok {
			a.label = id
			return nil
		}
	}
	if err == nil && made.Id == "" {
		err = &connection.Error{Kind: connection.ErrProtocol, Err: errors.New("the answer to labels.create names no label")}
	}
	if err != nil {
		return err
	}
	a.label = made.Id
	return nil
}

// labelName returns the name that a label has in Gmail whose path is path: what encodePath undoes.
func labelName(path, delimiter string) string {
	parts := strings.Split(path, delimiter)
	for i, part := range parts {
		parts[i] = decodePart(part)
	}
	return strings.Join(parts, "/")
}

// decodePart undoes encodePart.
func decodePart(part string) string {
	var b strings.Builder
	for i := 0; i < len(part); i++ {
		if part[i] == '%' && i+2 < len(part) {
			if octet, err := strconv.ParseUint(part[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(octet))
				i += 2
				continue
			}
		}
		b.WriteByte(part[i])
	}
	return b.String()
}
