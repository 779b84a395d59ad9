package doctest

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// A page is one file of Markdown, taken apart.
type page struct {
	path    string // below the module's root, with slashes
	anchors []string
	links   []link
	code    []code  // what stands between backticks
	rows    []code  // lines of tables of steps, whole
	blocks  []block // fenced code
}

type link struct {
	line   int
	target string
}

// A code is a piece of a line in backticks. step says that it is in the first column of a table of the steps of Test.
type code struct {
	line int
	text string
	step bool
}

type block struct {
	line     int // of its first line
	language string
	text     string
}

var (
	linkIn   = regexp.MustCompile(`\[[^\[\]]*\]\(([^()\s]+)\)`)
	codeIn   = regexp.MustCompile("`([^`]+)`")
	inLinks  = regexp.MustCompile(`\[([^\[\]]*)\]\([^()\s]*\)`)
	fenceOf  = regexp.MustCompile("^ *```+ *([a-z]*) *$")
	stepHead = regexp.MustCompile(`^\| *step *\|`)
)

// parse takes a page apart.
func parse(name, text string) *page {
	p := &page{path: name}
	var open *block
	steps := false // within a table of steps
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		if fence := fenceOf.FindStringSubmatch(line); fence != nil {
			if open == nil {
				open = &block{line: n + 1, language: fence[1]}
			} else {
				p.blocks = append(p.blocks, *open)
				open = nil
			}
			continue
		}
		if open != nil {
			open.text += line + "\n"
			continue
		}
		if strings.HasPrefix(line, "    ") {
			continue // code, by its indent
		}
		steps = stepHead.MatchString(line) || steps && strings.HasPrefix(line, "|")
		if steps {
			p.rows = append(p.rows, code{line: n, text: line})
		}
		p.words(n, line, steps)
	}
	if open != nil {
		p.blocks = append(p.blocks, *open)
	}
	return p
}

// words takes one line of text apart.
func (p *page) words(n int, line string, steps bool) {
	if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
		p.anchors = append(p.anchors, p.anchor(heading))
	}
	first := len(line)
	if steps {
		if at := strings.Index(line[1:], "|"); at >= 0 {
			first = at + 1
		}
	}
	for _, at := range codeIn.FindAllStringSubmatchIndex(line, -1) {
		p.code = append(p.code, code{line: n, text: line[at[2]:at[3]], step: steps && at[0] < first})
	}
	for _, m := range linkIn.FindAllStringSubmatch(codeIn.ReplaceAllString(line, ""), -1) {
		p.links = append(p.links, link{n, m[1]})
	}
}

// anchor returns what a heading is linked by, as GitHub makes it.
func (p *page) anchor(heading string) string {
	text := inLinks.ReplaceAllString(strings.TrimSpace(heading), "$1")
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r == ' ', r == '-':
			b.WriteByte('-')
		case r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	name := b.String()
	for n := 1; slices.Contains(p.anchors, name); n++ {
		name = fmt.Sprintf("%s-%d", b.String(), n)
	}
	return name
}

func (p *page) at(line int, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", p.path, line) + fmt.Sprintf(format, args...)
}

// checkLinks finds the relative links that lead nowhere. fsys is the module's root.
func checkLinks(p *page, fsys fs.FS) (findings []string) {
	for _, l := range p.links {
		if strings.Contains(l.target, "://") || strings.HasPrefix(l.target, "mailto:") {
			continue
		}
		file, anchor, hasAnchor := strings.Cut(l.target, "#")
		target := p
		if file != "" {
			name := path.Join(path.Dir(p.path), file)
			info, err := fs.Stat(fsys, name)
			if err != nil {
				findings = append(findings, p.at(l.line, "the link to %s leads nowhere", l.target))
				continue
			}
			if !hasAnchor {
				continue
			}
			if info.IsDir() || path.Ext(name) != ".md" {
				findings = append(findings, p.at(l.line, "the link to %s names a heading of what is no page", l.target))
				continue
			}
			raw, err := fs.ReadFile(fsys, name)
			if err != nil {
				findings = append(findings, p.at(l.line, "%v", err))
				continue
			}
			target = parse(name, string(raw))
		}
		if !slices.Contains(target.anchors, anchor) {
			findings = append(findings, p.at(l.line, "the link to %s names no heading; there are %s", l.target, strings.Join(target.anchors, ", ")))
		}
	}
	return findings
}

// checkIndex finds the pages that the index does not link. names are paths as it would write them.
func checkIndex(index *page, names []string) (findings []string) {
	for _, name := range names {
		if !slices.ContainsFunc(index.links, func(l link) bool { return l.target == name }) {
			findings = append(findings, index.at(1, "no link to %s", name))
		}
	}
	return findings
}
