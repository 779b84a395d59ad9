package connectiontest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"sync"
)

// printed searches everything that a driver prints for the secret, in all the forms that protocols give it.
type printed struct {
	forms []string

	mu    sync.Mutex
	found []string
}

func newPrinted(secret string) *printed {
	p := &printed{}
	if secret == "" {
		return p
	}
	seen := map[string]bool{}
	add := func(form string) {
		if !seen[form] {
			seen[form] = true
			p.forms = append(p.forms, form)
		}
	}
	add(secret)
	add(url.QueryEscape(secret))
	add(hex.EncodeToString([]byte(secret)))
	add(reverse(secret))
	// Base64 of a text that holds the secret somewhere, as in SASL PLAIN or HTTP Basic: three alignments, without the
	// characters at either end that depend on the neighbours.
	for lead := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", lead) + secret))
		first := (lead*8 + 5) / 6
		last := (lead + len(secret)) * 8 / 6
		add(text[first:last])
	}
	return p
}

func reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// add searches text, which was seen at what.
func (p *printed) add(what, text string) {
	for _, form := range p.forms {
		i := strings.Index(text, form)
		if i < 0 {
			continue
		}
		p.mu.Lock()
		p.found = append(p.found, fmt.Sprintf("the secret, as %d characters at %d, is in the %s: %s<secret>%s",
			len(form), i, what, text[max(0, i-60):i], text[i+len(form):min(len(text), i+len(form)+60)]))
		p.mu.Unlock()
		return
	}
}

// Write implements io.Writer for a slog.Handler, which writes one record at a time.
func (p *printed) Write(line []byte) (int, error) {
	p.add("log", string(line))
	return len(line), nil
}

func (p *printed) hits() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.found
}
