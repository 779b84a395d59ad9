package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// A canned server knows its answers beforehand, so that what is measured is the client alone. It knows the commands that
// the contenders send, one mailbox, any password, and forgets nothing: what is marked as deleted is not.
type canned struct {
	count   int
	message func(i int) []byte // from 0
}

// slices returns messages of so many octets each, all of them beginnings of one text: it takes no more memory than the
// largest.
func (c corpus) slices() canned {
	r := rand.New(rand.NewPCG(2, uint64(c.count))) // repeatable, not secret
	sizes := make([]int, c.count)
	for i := range sizes {
		sizes[i] = c.min + r.IntN(c.max-c.min+1)
	}
	const line = "etaoin shrdlu cmfwyp etaoin shrdlu cmfwyp etaoin shrdlu cmfwyp etaoin shrd\r\n"
	text := bytes.Repeat([]byte(line), c.max/len(line)+1)
	return canned{count: c.count, message: func(i int) []byte { return text[:sizes[i]] }}
}

// kept returns the corpus itself, in memory.
func (c corpus) kept() canned {
	var all [][]byte
	for m := range c.messages() {
		all = append(all, bytes.Clone(m))
	}
	return canned{count: len(all), message: func(i int) []byte { return all[i] }}
}

func (c canned) octets() (n int64) {
	for i := range c.count {
		n += int64(len(c.message(i)))
	}
	return n
}

// A dialogue is one connection of a canned server.
type dialogue struct {
	canned
	r *bufio.Reader
	w *bufio.Writer
}

func (c canned) dialogue(conn net.Conn) *dialogue {
	return &dialogue{canned: c, r: bufio.NewReader(conn), w: bufio.NewWriterSize(conn, readAhead)}
}

// line returns the next command. What was said before is on its way by then, unless more commands are here already.
func (d *dialogue) line() (string, error) {
	if d.r.Buffered() == 0 {
		if err := d.w.Flush(); err != nil {
			return "", err
		}
	}
	line, err := d.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// say writes one line.
func (d *dialogue) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.w, format+"\r\n", args...) // an error comes again at the flush
}

// servePOP3 speaks POP3.
func (c canned) servePOP3(conn net.Conn) error {
	d := c.dialogue(conn)
	d.say("+OK canned")
	for {
		line, err := d.line()
		if err != nil {
			return err
		}
		word, rest, _ := strings.Cut(line, " ")
		switch word = strings.ToUpper(word); word {
		case "CAPA":
			d.say("+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.")
		case "STAT":
			d.say("+OK %d %d", c.count, c.octets())
		case "LIST", "UIDL":
			d.say("+OK")
			for i := range c.count {
				if word == "LIST" {
					d.say("%d %d", i+1, len(c.message(i)))
				} else {
					d.say("%d canned%d", i+1, i+1)
				}
			}
			d.say(".")
		case "RETR":
			n, err := strconv.Atoi(rest)
			if err != nil || n < 1 || n > c.count {
				d.say("-ERR no such message")
				continue
			}
			// No line of the corpus begins with a dot.
			d.say("+OK")
			if _, err := d.w.Write(c.message(n - 1)); err != nil {
				return err
			}
			d.say(".")
		case "USER", "PASS", "NOOP", "QUIT":
			d.say("+OK")
			if word == "QUIT" {
				return d.w.Flush()
			}
		default:
			d.say("-ERR unknown")
		}
	}
}

// serveIMAP speaks IMAP4rev1. The UIDs are the numbers.
func (c canned) serveIMAP(conn net.Conn) error {
	d := c.dialogue(conn)
	d.say("* OK [CAPABILITY IMAP4rev1] canned")
	for {
		line, err := d.line()
		if err != nil {
			return err
		}
		tag, command, _ := strings.Cut(line, " ")
		upper := strings.TrimPrefix(strings.ToUpper(command), "UID ")
		word, rest, _ := strings.Cut(upper, " ")
		switch word {
		case "CAPABILITY":
			d.say("* CAPABILITY IMAP4rev1")
		case "SELECT", "EXAMINE":
			d.say("* FLAGS (\\Seen \\Deleted)\r\n* %d EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT %d] x", c.count, c.count+1)
		case "SEARCH":
			d.search()
		case "FETCH":
			set, items, _ := strings.Cut(rest, " ")
			if err := d.fetch(set, strings.Contains(items, "INTERNALDATE")); err != nil {
				d.say("%s BAD %s", tag, err)
				continue
			}
		case "LOGIN", "NOOP", "CHECK", "UNSELECT", "CLOSE":
		case "LIST":
			d.say(`* LIST () "/" INBOX`)
		case "LOGOUT":
			d.say("* BYE\r\n%s OK", tag)
			return d.w.Flush()
		default:
			d.say("%s BAD unknown", tag)
			continue
		}
		d.say("%s OK done", tag)
	}
}

// search finds everything.
func (d *dialogue) search() {
	text := []byte("* SEARCH")
	for i := range d.count {
		text = strconv.AppendInt(append(text, ' '), int64(i+1), 10)
	}
	d.say("%s", text)
}

// fetch sends the messages of a set.
func (d *dialogue) fetch(set string, dated bool) error {
	for part := range strings.SplitSeq(set, ",") {
		from, to, ranged := strings.Cut(part, ":")
		if !ranged {
			to = from
		}
		if to == "*" {
			to = strconv.Itoa(d.count)
		}
		lo, errLo := strconv.Atoi(from)
		hi, errHi := strconv.Atoi(to)
		if err := cmp.Or(errLo, errHi); err != nil {
			return err
		}
		if lo < 1 || hi > d.count {
			return errors.New("no such message")
		}
		for i := lo; i <= hi; i++ {
			if err := d.send(i, dated); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *dialogue) send(i int, dated bool) error {
	date := ""
	if dated {
		date = ` FLAGS () INTERNALDATE " 2-Mar-2026 10:00:00 +0000"`
	}
	m := d.message(i - 1)
	d.say("* %d FETCH (UID %d%s BODY[] {%d}", i, i, date, len(m))
	if _, err := d.w.Write(m); err != nil {
		return err
	}
	_, err := io.WriteString(d.w, ")\r\n")
	return err
}
