package soap

import "bytes"

// markup scans what begins with '<', which is at pos; of a CDATA section only its beginning.
func (s *scanner) markup() (kind, error) {
	if err := s.need(2); err != nil {
		return 0, err
	}
	switch s.buf[s.pos+1] {
	case '/':
		return endTag, s.closing()
	case '?':
		return aside, s.until("?>")
	case '!':
		return s.declaration()
	case 0:
		return 0, s.protocol("answer is in UTF-16")
	}
	return startTag, s.opening()
}

// declaration scans "<!": a comment or the beginning of a CDATA section. A DOCTYPE is refused: EWS has none, and it could
// define entities.
func (s *scanner) declaration() (kind, error) {
	if err := s.need(4); err != nil {
		return 0, err
	}
	if bytes.HasPrefix(s.buf[s.pos:s.end], []byte("<!--")) {
		s.pos += 4
		return aside, s.until("-->")
	}
	if err := s.need(len("<![CDATA[")); err != nil {
		return 0, err
	}
	switch b := s.buf[s.pos:s.end]; {
	case bytes.HasPrefix(b, []byte("<![CDATA[")) && s.depth > 0:
		s.pos += len("<![CDATA[")
		return chars, nil
	case s.depth == 0:
		return 0, s.foreign("answer has a document type")
	}
	return 0, s.protocol("declaration inside %s", s.shown())
}

// until skips to behind the mark.
func (s *scanner) until(mark string) error {
	for {
		if i := bytes.Index(s.buf[s.pos:s.end], []byte(mark)); i >= 0 {
			s.pos += i + len(mark)
			return s.count(&s.markupLeft, i+len(mark))
		}
		gone := max(0, s.end-s.pos-len(mark)+1)
		s.pos += gone
		if err := s.count(&s.markupLeft, gone); err != nil {
			return err
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// opening scans a start tag and opens its element.
func (s *scanner) opening() error {
	size, err := s.tagSize()
	if err != nil {
		return err
	}
	tag := s.buf[s.pos+1 : s.pos+size-1]
	if n := len(tag); n > 0 && tag[n-1] == '/' {
		tag, s.closed = tag[:n-1], true
	}
	name := tag
	if i := bytes.IndexAny(tag, " \t\r\n/"); i >= 0 {
		name = tag[:i]
	}
	switch {
	case len(name) == 0 || name[len(name)-1] == ':':
		return s.protocol("tag without a name inside %s", s.shown())
	case s.depth == maxDepth:
		return s.protocol("elements nested more than %d deep", maxDepth)
	}
	s.depth++
	s.marks[s.depth] = len(s.names)
	s.names = append(s.names, name...)
	s.tag = tag[len(name):]
	s.pos += size
	return s.count(&s.markupLeft, size)
}

// closing scans an end tag and closes the innermost element.
func (s *scanner) closing() error {
	size, err := s.tagSize()
	if err != nil {
		return err
	}
	name := bytes.TrimRight(s.buf[s.pos+2:s.pos+size-1], " \t\r\n")
	if s.depth == 0 || !bytes.Equal(name, s.names[s.marks[s.depth]:]) {
		return s.protocol("%s is closed by the end tag of another element", s.shown())
	}
	s.pop()
	s.pos += size
	return s.count(&s.markupLeft, size)
}

func (s *scanner) pop() {
	s.names = s.names[:s.marks[s.depth]]
	s.depth--
}

// tagSize returns how long the tag at pos is, and has all of it in buf. A '>' in quotes does not end it.
func (s *scanner) tagSize() (int, error) {
	quote := byte(0)
	for i := 1; ; {
		for b := s.buf[s.pos:s.end]; i < len(b); i++ {
			switch c := b[i]; {
			case quote != 0:
				n := bytes.IndexByte(b[i:], quote)
				if n < 0 {
					i = len(b) - 1
					continue
				}
				i += n
				quote = 0
			case c == '>':
				return i + 1, nil
			case c == '"', c == '\'':
				quote = c
			case c == '<':
				return 0, s.protocol("tag within a tag inside %s", s.shown())
			}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// attr returns the value of an attribute of the last start tag by its local name, "" if there is none.
func (s *scanner) attr(name string) string {
	for b := s.tag; ; {
		eq := bytes.IndexByte(b, '=')
		if eq < 0 {
			return ""
		}
		key := bytes.TrimSpace(b[:eq])
		if !bytes.HasPrefix(key, []byte("xmlns:")) {
			key = key[bytes.LastIndexByte(key, ':')+1:]
		}
		b = bytes.TrimLeft(b[eq+1:], " \t\r\n")
		if len(b) == 0 || b[0] != '"' && b[0] != '\'' {
			return ""
		}
		size := bytes.IndexByte(b[1:], b[0])
		if size < 0 {
			return ""
		}
		if string(key) == name {
			return string(clean(nil, b[1:1+size], true))
		}
		b = b[size+2:]
	}
}
