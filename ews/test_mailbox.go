package ews

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/autodiscover"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// autodiscover looks for the account's mailbox and for the sample, without the cache.
func (t *tester) autodiscover() {
	const name = "autodiscover"
	c := t.conn
	if c.finder == nil {
		t.Skip(name, "disable_autodiscover: every mailbox lies on server")
		return
	}
	own, sample := t.addresses()
	if own == "" && sample == "" {
		t.Skip(name, "neither username nor test_mailbox is an address to look for")
		return
	}
	t.step(name, nil, func() (detail, hint string, err error) {
		var lines []string
		look := func(address string) (*url.URL, error) {
			found, trail, err := c.finder.Search(t.ctx, address)
			if err == nil {
				lines = append(lines, address+": "+found.URL.String())
			} else {
				lines = append(lines, address+": "+connection.KindOf(err).Error())
			}
			for _, attempt := range trail {
				lines = append(lines, "  "+attempt.String())
			}
			if err != nil {
				return nil, err
			}
			return found.URL, nil
		}
		var ownErr error
		if own != "" {
			t.found, ownErr = look(own)
		}
		if sample != "" && t.ctx.Err() == nil && !errors.Is(ownErr, connection.ErrAuth) {
			var found *url.URL
			if found, err = look(sample); found != nil {
				t.found = found
			}
		}
		switch {
		case t.ctx.Err() != nil:
			err = t.ctx.Err()
		case errors.Is(ownErr, connection.ErrAuth), sample == "":
			err = ownErr
		case err == nil && ownErr != nil:
			t.homeless = true
			hint = "username: autodiscover does not find the account's own mailbox; that is well if it has none"
		}
		if t.found != nil && online(t.found.Hostname()) {
			hint = "server: " + retirement
		}
		if err != nil && c.cfg.FallbackToServer && t.ctx.Err() == nil && !errors.Is(err, connection.ErrAuth) {
			return strings.Join(lines, "\n"), "fallback_to_server: " + c.server.Host + " is used, since autodiscover finds nothing", nil
		}
		if errors.Is(err, connection.ErrAuth) {
			t.refused = short(err)
		}
		return strings.Join(lines, "\n"), hint, short(err)
	})
}

// short returns err without its trail, which the step's detail shows.
func short(err error) error {
	var e *connection.Error
	var search *autodiscover.SearchError
	if !errors.As(err, &e) || !errors.As(err, &search) {
		return err
	}
	brief := *e
	brief.Err = fmt.Errorf("no EWS endpoint found for %s", search.Address)
	if cause := search.Unwrap(); cause != nil {
		brief.Err = fmt.Errorf("%w: %w", brief.Err, cause)
	}
	return &brief
}

// addresses returns the account's own address and that of the sample, "" where there is none.
func (t *tester) addresses() (own, sample string) {
	c := t.conn
	if strings.Contains(c.cfg.Username, "@") {
		own = c.cfg.Username
	}
	if other, err := c.target(c.sample()); err == nil && c.sample() != "" && strings.Contains(other.address, "@") && !strings.EqualFold(other.address, own) {
		sample = other.address
	}
	return own, sample
}

// needs returns the steps that must have succeeded before a mailbox can be asked.
func (t *tester) needs(box target, more ...string) []string {
	if t.conn.discovered(box) {
		return append(more, "autodiscover")
	}
	return append(more, "http")
}

// login adds the steps auth and capabilities.
func (t *tester) login() {
	c := t.conn
	own, err := c.target("")
	if sample := c.sample(); sample != "" && (err != nil || t.homeless) {
		own, err = c.target(sample) // an application logs in for somebody, and a mailbox that is not there has no server
	}
	needs := t.needs(own)
	if err = errors.Join(err, t.refused); err != nil {
		needs = nil // autodiscover has found out: another login could lock the account
	}
	t.step("auth", needs, func() (string, string, error) {
		if err != nil {
			return "", "", err
		}
		_, err := c.one(t.ctx, own, soap.GetFolder{Folders: []soap.FolderID{c.distinguished(own, "inbox")}})
		if err == nil || strings.HasPrefix(codeOf(err), "Error") && !errors.Is(err, connection.ErrAuth) {
			return "the server knows " + or(c.cfg.Username, "the token"), "", nil // what it then says is the next steps' matter
		}
		return "", "", err
	})
	t.step("capabilities", []string{"auth"}, func() (detail, hint string, err error) {
		info, declared, known := c.build(own)
		if !known {
			declared = c.learnt.version(own.key(), "", c.cfg.ceiling())
		}
		detail = "requests are those of " + string(declared)
		if info != (soap.ServerVersionInfo{}) {
			detail = product(info) + "; " + detail
		} else {
			detail = "the server does not tell its version; " + detail
		}
		if c.cfg.version() != "auto" && known && declared.Below(c.cfg.ceiling()) {
			hint = "version: the server is older than " + string(c.cfg.Version) + "; set what it is, and the first request to each mailbox need not be repeated"
		}
		return detail, hint, nil
	})
}

// mailboxes adds the steps open, impersonate, read, write and remove.
func (t *tester) mailboxes(write bool) {
	c := t.conn
	var open *opened
	own, err := c.target("")
	switch {
	case err != nil:
		t.Skip("open", "an application has no mailbox of its own")
	case t.homeless:
		t.step("open", []string{"auth"}, func() (string, string, error) {
			return "autodiscover knows no mailbox of the account", hintHomeless, nil
		})
	default:
		t.step("open", t.needs(own, "auth"), func() (detail, hint string, err error) {
			var box opened
			if detail, err = t.inbox(own, &box); err == nil {
				open = &box
			} else if homeless(err) && c.cfg.access() != AccessOwn {
				return "the account has no mailbox of its own: " + codeOf(err), hintHomeless, nil
			}
			return detail, "", err
		})
	}
	sample := c.sample()
	other, err := c.target(sample)
	switch {
	case err == nil && other.address == own.address && other.as == own.as && sample != "":
		t.Skip("impersonate", "test_mailbox is the account's own")
	case sample == "":
		t.Skip("impersonate", "there is no mailbox to try it with; name one in test_mailbox")
	default:
		t.step("impersonate", t.needs(other, "auth"), func() (detail, hint string, _ error) {
			if err != nil {
				return "", "", err
			}
			open = nil // what comes next is to be done where it matters
			var box opened
			if detail, err = t.inbox(other, &box); err == nil {
				open = &box
			}
			return detail, "", err
		})
	}
	if open == nil {
		why := "no mailbox could be opened"
		t.Skip("read", why)
		if !write {
			why = "not asked for"
		}
		t.Skip("write", why)
		t.Skip("remove", why)
		return
	}
	t.step("read", nil, func() (string, string, error) { return t.read(open) })
	t.store(open, write)
}

const hintHomeless = "username: an account without a mailbox of its own will do for opening others; test_mailbox names the one to try"

// opened is a mailbox whose inbox could be opened.
type opened struct {
	target
	inbox soap.FolderID
	total int64
}

// inbox opens the inbox of a mailbox.
func (t *tester) inbox(box target, into *opened) (detail string, err error) {
	folder, err := t.conn.wellKnown(t.ctx, &box, "inbox")
	if err != nil {
		return "", t.conn.fail(opTest, box, connection.Ref{}, err)
	}
	*into = opened{target: box, inbox: soap.FolderID{ID: folder.ID}, total: folder.Total}
	detail = fmt.Sprintf("%s, %d items", or(folder.Name, "inbox"), folder.Total)
	if folder.Total < 0 {
		detail = or(folder.Name, "inbox")
	}
	if box.mailbox != "" {
		detail += " of " + box.mailbox
	}
	return detail, nil
}

// product names the server that a build belongs to.
func product(info soap.ServerVersionInfo) string {
	name := "an unknown server"
	switch {
	case info.Major == 8:
		name = "Exchange 2007"
	case info.Major == 14:
		name = "Exchange 2010"
	case info.Major == 15 && info.Minor == 0:
		name = "Exchange 2013"
	case info.Major == 15 && info.Minor == 1:
		name = "Exchange 2016"
	case info.Major == 15 && info.Minor == 2:
		name = "Exchange 2019 or SE"
	case info.Major == 15 && info.Minor == 20:
		name = "Exchange Online"
	}
	return fmt.Sprintf("%s (%d.%d.%d.%d)", name, info.Major, info.Minor, info.MajorBuild, info.MinorBuild)
}

// homeless reports whether err means that the account has no mailbox.
func homeless(err error) bool {
	switch codeOf(err) {
	case "ErrorMissingEmailAddress", "ErrorNonExistentMailbox", "ErrorMailboxNotFound", "ErrorCannotFindUser":
		return true
	}
	return false
}

const readEnough = 64 << 10

// read reads the beginning of the newest message.
func (t *tester) read(box *opened) (detail, hint string, err error) {
	r, err := t.conn.one(t.ctx, box.target, soap.FindItem{
		Page: &soap.Page{Max: 1}, Sort: []soap.Order{{By: soap.Field("item:DateTimeReceived"), Descending: true}}, Parents: []soap.FolderID{box.inbox},
	})
	if err != nil {
		return "", "", err
	}
	if len(r.Items) == 0 {
		return "the inbox is empty", "", nil
	}
	head, err := t.mime(box.target, soap.ItemID{ID: r.Items[0].ID})
	switch {
	case errors.Is(err, connection.ErrCorrupt):
		return "the newest item cannot be converted: " + codeOf(err), "fallbacks: such items are told as errors, or as fallbacks says", nil
	case errors.Is(err, connection.ErrNotFound):
		return "the newest item was moved or deleted meanwhile", "", nil
	case err != nil:
		return "", "", err
	}
	return fmt.Sprintf("%d octets of the newest item", len(head)), "", nil
}

// mime returns the beginning of an item's MIME, at most readEnough octets.
func (t *tester) mime(box target, id soap.ItemID) ([]byte, error) {
	c := t.conn
	a, err := c.call(t.ctx, box, soap.GetItem{Shape: soap.ItemShape{MIME: true}, Items: []soap.ItemID{id}}, callOptions{expect: []soap.ItemID{id}})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	first, err := a.Next()
	if err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end
		return nil, t.wrong("the answer to GetItem is empty")
	}
	if err != nil {
		return nil, err
	}
	if e := refusal(first); e != nil {
		return nil, e.final(true)
	}
	if first.Body() == nil {
		return nil, &connection.Error{Driver: DriverName, Kind: connection.ErrCorrupt, Code: "ErrorMimeContentConversionFailed", Err: errors.New("success without a body")}
	}
	return io.ReadAll(io.LimitReader(first.Body(), readEnough))
}
