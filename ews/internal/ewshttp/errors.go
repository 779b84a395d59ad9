package ewshttp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/httpx"
)

func (c *Client) fail(kind connection.Kind, endpoint, hint, format string, args ...any) *connection.Error {
	return &connection.Error{Driver: c.opts.Driver, Endpoint: endpoint, Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}

func (c *Client) config(format string, args ...any) *connection.Error {
	return c.fail(connection.ErrConfig, "", "", "config: "+format, args...)
}

// ended returns why nothing more is to be done: the Client is closed, or ctx is over. nil if neither is.
func (c *Client) ended(ctx context.Context, endpoint string) error {
	if c.life.Err() != nil {
		return context.Cause(c.life)
	}
	err := ctx.Err()
	if err == nil {
		return nil
	}
	e := c.fail(connection.KindOf(err), endpoint, "", "%w", err)
	if why := context.Cause(ctx); !errors.Is(err, why) {
		e.Kind, e.Err = connection.KindOf(why), fmt.Errorf("%w: %w", err, why)
	}
	return e
}

// clean makes a server's text fit for an error or a log: short, printable, without a credential, also where that was only taken
// apart by what cannot be printed.
func (c *Client) clean(text string) string {
	scrub := c.scrub.Load()
	return scrub.Text(httpx.Clean(scrub.Text(text)))
}

// Hide takes the credential out of a server's words. Of one that was cut off where the words end in "…" it takes the beginning.
func (c *Client) Hide(text string) string {
	scrub := c.scrub.Load()
	before, cut := strings.CutSuffix(scrub.Text(text), "…")
	if !cut {
		return before
	}
	return scrub.Cut(before) + "…"
}

// maxShown is how much of a page's text an error shows.
const maxShown = 200

// A page is what a person reads on a web page, or a text that is none.
type page struct {
	words string // in lower case, one space between them
	shown string // the beginning, fit for an error
}

// says reports whether the page holds a phrase.
func (p page) says(phrase string) bool { return strings.Contains(p.words, strings.ToLower(phrase)) }

// page takes the tags out of a page.
func (c *Client) page(octets []byte) page {
	text := strings.ToValidUTF8(c.scrub.Load().Text(string(octets)), "")
	lower := strings.Map(func(r rune) rune { // no letter may change its length
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, text)
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '<' {
			next := strings.IndexByte(text[i:], '<')
			if next < 0 {
				next = len(text) - i
			}
			b.WriteString(text[i : i+next])
			i += next
			continue
		}
		rest := lower[i:]
		end := ">"
		for _, name := range []string{"style", "script"} {
			if strings.HasPrefix(rest, "<"+name) {
				end = "</" + name + ">"
			}
		}
		if strings.HasPrefix(rest, "<!--") {
			end = "-->"
		}
		next := strings.Index(rest, end)
		if next < 0 {
			break
		}
		b.WriteByte(' ')
		i += next + len(end)
	}
	shown := c.clean(b.String())
	if len(shown) > maxShown {
		shown = strings.ToValidUTF8(shown[:maxShown], "") + "…"
	}
	return page{strings.ToLower(strings.Join(strings.Fields(b.String()), " ")), shown}
}
