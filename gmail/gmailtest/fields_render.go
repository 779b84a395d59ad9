package gmailtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
)

// An object is a JSON object whose members have an order.
type object []member

type member struct {
	name  string
	value any
}

// obj makes an object of names and values, one after the other; nil values are left out.
func obj(pairs ...any) object {
	o := make(object, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != nil {
			o = append(o, member{pairs[i].(string), pairs[i+1]})
		}
	}
	return o
}

// content is a value that is written as the base64 of octets, which are read while they are sent.
type content struct {
	r    io.ReaderAt
	size int64
}

// A renderer writes JSON.
type renderer struct {
	w      *bufio.Writer
	style  Rendering
	indent bool
	rng    *rand.Rand // of Shuffle

	buffers *sync.Pool // of *[7 << 14]byte: three parts for octets and four for their base64
}

// render writes v, of which mask leaves something out. Values are objects, slices of objects or strings, strings, numbers, bools,
// uint64 (written as strings, as Google does), and content.
func (p *renderer) render(v any, mask *mask, depth int) error {
	switch v := v.(type) {
	case object:
		return p.object(v, mask, depth)
	case []object:
		return array(p, v, depth, func(o object) error { return p.object(o, mask, depth+1) })
	case []string:
		return array(p, v, depth, p.text)
	case string:
		return p.text(v)
	case uint64:
		return p.text(strconv.FormatUint(v, 10))
	case int, int64, bool:
		_, err := fmt.Fprint(p.w, v)
		return err
	case json.RawMessage:
		_, err := p.w.Write(v)
		return err
	case content:
		return p.content(v)
	}
	return fmt.Errorf("gmailtest: no JSON for a %T", v)
}

func (p *renderer) object(o object, mask *mask, depth int) error {
	if p.style.Shuffle {
		o = append(object(nil), o...)
		p.rng.Shuffle(len(o), func(i, j int) { o[i], o[j] = o[j], o[i] })
	}
	_ = p.w.WriteByte('{') // a bufio.Writer keeps its error for Flush
	n := 0
	for _, m := range o {
		inner, ok := mask.child(m.name)
		if !ok {
			continue
		}
		if n++; n > 1 {
			_ = p.w.WriteByte(',') // as above
		}
		p.line(depth + 1)
		if err := p.text(m.name); err != nil {
			return err
		}
		_ = p.w.WriteByte(':') // as above
		if p.indent {
			_ = p.w.WriteByte(' ') // as above
		}
		if err := p.render(m.value, inner, depth+1); err != nil {
			return err
		}
	}
	if n > 0 {
		p.line(depth)
	}
	return p.w.WriteByte('}')
}

func array[T any](p *renderer, list []T, depth int, each func(T) error) error {
	_ = p.w.WriteByte('[') // a bufio.Writer keeps its error for Flush
	for i, v := range list {
		if i > 0 {
			_ = p.w.WriteByte(',') // as above
		}
		p.line(depth + 1)
		if err := each(v); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		p.line(depth)
	}
	return p.w.WriteByte(']')
}

// line begins a new line, if the answer is to be pretty.
func (p *renderer) line(depth int) {
	if !p.indent {
		return
	}
	_ = p.w.WriteByte('\n') // a bufio.Writer keeps its error for Flush
	for range depth {
		_, _ = p.w.WriteString("  ") // as above
	}
}

func (p *renderer) text(s string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = p.w.Write(b)
	return err
}

// content writes base64, a piece at a time.
func (p *renderer) content(c content) error {
	encoding := base64.URLEncoding
	switch p.style.Base64 {
	case Base64Unpadded, Base64Escaped:
		encoding = base64.RawURLEncoding
	case Base64Std, Base64StdSlash:
		encoding = base64.StdEncoding
	case Base64URL:
	}
	_ = p.w.WriteByte('"') // a bufio.Writer keeps its error for Flush
	buffer, ok := p.buffers.Get().(*[7 << 14]byte)
	if !ok {
		buffer = new([7 << 14]byte)
	}
	defer p.buffers.Put(buffer)
	in, out := buffer[:3<<14], buffer[3<<14:]
	src := io.NewSectionReader(c.r, 0, c.size)
	for {
		n, err := io.ReadFull(src, in)
		last := err == io.EOF || err == io.ErrUnexpectedEOF //nolint:errorlint // what only wraps an end is a failure
		if err != nil && !last {
			return err
		}
		piece := out[:encoding.EncodedLen(n)]
		encoding.Encode(piece, in[:n])
		if err := p.encoded(piece); err != nil {
			return err
		}
		if last {
			break
		}
	}
	if p.style.Base64 == Base64Escaped {
		for range (3 - c.size%3) % 3 {
			_, _ = p.w.WriteString(`\u003d`) // as above
		}
	}
	return p.w.WriteByte('"')
}

func (p *renderer) encoded(piece []byte) error {
	if p.style.Base64 != Base64StdSlash {
		_, err := p.w.Write(piece)
		return err
	}
	for _, b := range piece {
		if b == '/' {
			_ = p.w.WriteByte('\\') // a bufio.Writer keeps its error for Flush
		}
		if err := p.w.WriteByte(b); err != nil {
			return err
		}
	}
	return nil
}
