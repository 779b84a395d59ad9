package maildir

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// A pattern is Config.Path taken apart: a literal directory, and the elements below it, from the first wildcard on.
type pattern struct {
	base    string
	literal []string // elements of base
	elems   []element
	depth   int    // mailbox_name as an index from the end; 0 if it is none
	naming  string // mailbox_name as a template; "" if it is none
}

// An element is one level of a pattern.
type element struct {
	text   string // literal name, or the glob
	wild   bool
	holder string // name of its placeholder
	before string // what stands before and after the placeholder
	after  string
}

var placeholder = regexp.MustCompile(`\{([a-z_]+)\}`)

func parsePattern(path, name string) (*pattern, error) {
	if strings.ContainsRune(path, 0) {
		return nil, errors.New("path: holds a NUL")
	}
	p := &pattern{}
	volume := filepath.VolumeName(path)
	rest := filepath.ToSlash(path[len(volume):])
	p.base = volume
	if strings.HasPrefix(rest, "/") {
		p.base += string(filepath.Separator)
	}
	var literal []string
	holders := map[string]bool{}
	for text := range strings.SplitSeq(rest, "/") {
		if text == "" || text == "." {
			continue
		}
		e, err := parseElement(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("path: %q: %w", text, err)
		case holders[e.holder] && e.holder != "":
			return nil, fmt.Errorf("path: {%s} stands there twice", e.holder)
		case !e.wild && len(p.elems) == 0:
			literal = append(literal, e.text)
			continue
		case e.text == "..":
			return nil, errors.New(`path: ".." cannot follow a wildcard`)
		}
		holders[e.holder] = true
		p.elems = append(p.elems, e)
	}
	p.base = filepath.Join(append([]string{p.base}, literal...)...)
	if p.base == "" {
		p.base = "."
	}
	p.literal = strings.FieldsFunc(filepath.ToSlash(p.base[len(volume):]), func(r rune) bool { return r == '/' })
	return p, p.parseNaming(name, len(p.literal)+len(p.elems), holders)
}

func (p *pattern) parseNaming(name string, elements int, holders map[string]bool) error {
	if name == "" {
		return nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > elements {
			return fmt.Errorf("mailbox_name: %d: path has %d elements; 1 is the last", n, elements)
		}
		p.depth = n
		return nil
	}
	used := placeholder.FindAllStringSubmatch(name, -1)
	if used == nil {
		return fmt.Errorf("mailbox_name: %q: want a number or a text with a placeholder of path, such as {user}", name)
	}
	for _, m := range used {
		if !holders[m[1]] {
			return fmt.Errorf("mailbox_name: %s is not in path", m[0])
		}
	}
	p.naming = name
	return nil
}

func parseElement(text string) (element, error) {
	if at := placeholder.FindStringSubmatchIndex(text); at != nil {
		e := element{text: text, wild: true, holder: text[at[2]:at[3]], before: text[:at[0]], after: text[at[1]:]}
		if strings.ContainsAny(e.before+e.after, `*?[{`) {
			return e, errors.New("one wildcard or placeholder an element is all that is possible")
		}
		return e, nil
	}
	if strings.ContainsAny(text, "*?[") {
		if _, err := filepath.Match(text, ""); err != nil {
			return element{}, err
		}
		bare := text
		if runtime.GOOS != "windows" {
			bare = regexp.MustCompile(`\\.`).ReplaceAllString(text, "")
		}
		if strings.ContainsAny(bare, "*?[") {
			return element{text: text, wild: true}, nil
		}
	}
	if runtime.GOOS != "windows" {
		text = regexp.MustCompile(`\\(.)`).ReplaceAllString(text, "$1")
	}
	return element{text: text}, nil
}

// match reports whether a directory called name fits e, and what its wildcard stands for.
func (e *element) match(name string) (value string, ok bool) {
	switch {
	case !e.wild:
		return name, name == e.text
	case e.holder != "":
		rest, found := strings.CutPrefix(name, e.before)
		value, ends := strings.CutSuffix(rest, e.after)
		// As in a shell, a wildcard does not stand for the dot that hides a name.
		return value, found && ends && value != "" && (e.before != "" || value[0] != '.')
	case name[0] == '.' && e.text[0] != '.':
		return "", false
	}
	ok, err := filepath.Match(e.text, name)
	return name, ok && err == nil
}

// nameOf returns the mailbox's name for the directory that elems, below p.base, lead to.
func (p *pattern) nameOf(elems []string) string {
	switch {
	case p.depth > len(elems):
		return escape(p.literal[len(p.literal)-(p.depth-len(elems))])
	case p.depth > 0:
		return escape(elems[len(elems)-p.depth])
	case p.naming != "":
		values := map[string]string{}
		for i, e := range p.elems {
			if e.holder != "" {
				values[e.holder], _ = e.match(elems[i])
			}
		}
		return escape(placeholder.ReplaceAllStringFunc(p.naming, func(s string) string { return values[s[1:len(s)-1]] }))
	}
	return p.distinguishing(elems)
}

// distinguishing joins what the wildcards of the first len(elems) elements stand for.
func (p *pattern) distinguishing(elems []string) string {
	var parts []string
	for i, name := range elems {
		if p.elems[i].wild {
			value, _ := p.elems[i].match(name)
			parts = append(parts, escape(value))
		}
	}
	return strings.Join(parts, "/")
}

// many reports whether there can be several mailboxes.
func (p *pattern) many() bool { return len(p.elems) > 0 }

// ambiguous reports whether two directories can get the same name.
func (p *pattern) ambiguous() bool { return p.many() && (p.depth > 0 || p.naming != "") }
