package smtpclient

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// A delivery is one Send: what is to be sent to whom, and how far it came.
type delivery struct {
	conn    *Conn
	from    path
	to      []path
	dsn     *connection.DSN
	tlsOnly bool // REQUIRETLS
	body    *payload
	noBDAT  bool // the server offered BDAT and did not know it

	// Of the attempt under way.
	dropped   bool // the connection ended before the server agreed to any content
	begun     bool // the server may have octets of the message
	committed bool // it may have all of them
	receipt   connection.Receipt
}

// A plan is how a delivery is done over one session.
type plan struct {
	commands []string // MAIL, each RCPT, and with inFlight DATA
	bdat     bool
	inFlight bool
	notes    []string
}

// window is how many commands are sent before their replies are read. So many replies fit into any socket's buffers, so
// that neither side waits for the other to read (RFC 2920, 3.1).
const window = 100

// plan decides how d can be sent over s. An error means that it cannot, before anything was sent.
func (d *delivery) plan(s *session) (*plan, error) {
	p := &plan{}
	if err := d.choosePath(s, p); err != nil {
		return nil, err
	}
	size := d.body.scan.size
	if !p.bdat {
		size += d.body.scan.bareLF()
	}
	if s.ext.size > 0 && size > s.ext.size {
		return nil, d.conn.problem("send", connection.ErrTooLarge, "", "the message has %d octets, and the server takes %d", size, s.ext.size)
	}
	mail := "MAIL FROM:<" + d.from.address + ">"
	if s.ext.hasSize {
		mail += " SIZE=" + strconv.FormatInt(size, 10)
	}
	eight, err := d.bodyType(s, p)
	if err != nil {
		return nil, err
	}
	mail += eight
	options, notify, err := d.options(s)
	if err != nil {
		return nil, err
	}
	p.commands = make([]string, 0, len(d.to)+2)
	p.commands = append(p.commands, mail+options)
	for _, to := range d.to {
		command := "RCPT TO:<" + to.address + ">" + notify
		if notify != "" && !to.utf8 {
			command += " ORCPT=rfc822;" + xtext(to.address)
		}
		p.commands = append(p.commands, command)
	}
	if p.inFlight = s.ext.pipelining && !p.bdat && !d.conn.cfg.aborts(); p.inFlight {
		p.commands = append(p.commands, "DATA")
	}
	return p, nil
}

// choosePath decides between BDAT and DATA, and whether the content can go that way.
func (d *delivery) choosePath(s *session, p *plan) error {
	c, scan := d.conn, &d.body.scan
	switch c.cfg.BodyPath {
	case PathBDAT:
		if !s.ext.chunking || d.noBDAT {
			return c.problem("send", connection.ErrUnsupported, "body_path: use auto, or a server that offers CHUNKING", "the server does not know BDAT")
		}
		p.bdat = true
	case PathDATA:
	default:
		p.bdat = s.ext.chunking && !d.noBDAT
	}
	if p.bdat {
		return nil
	}
	if scan.nul {
		return c.problem("send", connection.ErrUnsupported, "server: only BDAT carries NUL, and this server or body_path does not permit it", "octet %d of the message is NUL", scan.firstNUL)
	}
	if scan.bareCR() > 0 {
		switch c.cfg.BareCR {
		case BareCRSpace:
			p.notes = append(p.notes, fmt.Sprintf("%d bare CR became spaces", scan.bareCR()))
		case BareCRCRLF:
			p.notes = append(p.notes, fmt.Sprintf("%d bare CR became CRLF", scan.bareCR()))
		default:
			return c.problem("send", connection.ErrConfig, "bare_cr: space or crlf changes them; only a server that offers CHUNKING takes them as they are", "octet %d of the message is a CR without LF", scan.firstCR)
		}
	}
	if n := scan.bareLF(); n > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%d bare LF became CRLF", n))
	}
	if scan.unfinished() {
		p.notes = append(p.notes, "a CRLF was added at the end")
	}
	if scan.longest > maxTextLine {
		p.notes = append(p.notes, fmt.Sprintf("a line has %d octets, and servers may break it", scan.longest))
	}
	return nil
}

// bodyType returns the parameter BODY (RFC 6152, RFC 3030).
func (d *delivery) bodyType(s *session, p *plan) (string, error) {
	scan := &d.body.scan
	if p.bdat && scan.binary() {
		if s.ext.binary {
			return " BODY=BINARYMIME", nil
		}
		p.notes = append(p.notes, "nothing, but the server does not offer BINARYMIME and may itself change bare CR, bare LF, NUL or long lines")
	}
	switch {
	case !scan.eightBit:
		return "", nil
	case s.ext.eightBit:
		return " BODY=8BITMIME", nil
	case d.conn.cfg.EightBit == EightBitSendAnyway:
		p.notes = append(p.notes, "nothing, but the message has 8-bit octets and the server does not offer 8BITMIME")
		return "", nil
	}
	return "", d.conn.problem("send", connection.ErrUnsupported, "eight_bit: the server does not offer 8BITMIME; send-anyway sends all the same", "the message has 8-bit octets, which the server does not promise to keep")
}

// options returns the other parameters of MAIL, and those of RCPT.
func (d *delivery) options(s *session) (mail, rcpt string, err error) {
	lacks := func(hint, what string) error {
		return d.conn.problem("send", connection.ErrUnsupported, hint, "%s, and the server does not offer it", what)
	}
	needsUTF8 := d.from.utf8
	for _, to := range d.to {
		needsUTF8 = needsUTF8 || to.utf8
	}
	if needsUTF8 {
		if !s.ext.utf8 {
			return "", "", lacks("a domain can be written in its ASCII form (xn--…)", "an address has other characters than ASCII and needs SMTPUTF8")
		}
		mail += " SMTPUTF8"
	}
	if d.tlsOnly {
		if !s.ext.requireTLS || s.tls == nil || !s.tls.Trusted { // RFC 8689, 4.1 and 4.2.1
			return "", "", lacks("SendOptions.RequireTLS: it needs verified TLS and a server that offers it", "TLS all the way is asked for (REQUIRETLS)")
		}
		mail += " REQUIRETLS"
	}
	if d.dsn == nil || len(d.dsn.Notify) == 0 && d.dsn.Return == "" && d.dsn.ID == "" {
		return mail, "", nil
	}
	if !s.ext.dsn {
		return "", "", lacks("dsn: leave it out for this server", "delivery reports are asked for (DSN)")
	}
	if d.dsn.Return != "" {
		mail += " RET=" + strings.ToUpper(d.dsn.Return)
	}
	if d.dsn.ID != "" {
		mail += " ENVID=" + xtext(d.dsn.ID)
	}
	if len(d.dsn.Notify) > 0 {
		rcpt = " NOTIFY=" + strings.ToUpper(strings.Join(d.dsn.Notify, ","))
	}
	return mail, rcpt, nil
}

// reject notes a recipient that the server refused.
func (d *delivery) reject(to path, e *connection.Error) {
	e.Op, e.Err = "send", fmt.Errorf("recipient %s: %w", to.address, e.Err)
	d.receipt.Rejected = append(d.receipt.Rejected, connection.Rejection{Address: to.address, Err: e})
}

// nobody is the error of a message that went to none of its recipients since the server refused all or some of them. It
// is ErrRejected; where all refusals are of one kind that passes, or that a right would change, KindOf tells that kind.
func (d *delivery) nobody(why string) error {
	var first *connection.Error
	same := true
	texts := make([]string, 0, len(d.receipt.Rejected))
	causes := []error{connection.ErrRejected}
	e := d.conn.problem("send", connection.ErrRejected, "", "")
	for _, r := range d.receipt.Rejected {
		var one *connection.Error
		if !errors.As(r.Err, &one) {
			continue // cannot be: reject made it
		}
		if first == nil {
			first = one
			e.Code, e.Hint = one.Code, one.Hint
		}
		same = same && one.Kind == first.Kind
		e.RetryAfter = max(e.RetryAfter, one.RetryAfter)
		if len(texts) < 3 {
			texts = append(texts, one.Err.Error())
		}
		causes = append(causes, r.Err)
	}
	if same && first != nil && (connection.Temporary(first) || first.Kind == connection.ErrPermission) {
		e.Kind = first.Kind
	}
	if more := len(d.receipt.Rejected) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	e.Err = &refusals{text: why + ": " + strings.Join(texts, "; "), causes: causes}
	return e
}

// refusals are one line for people that keeps its causes for errors.Is.
type refusals struct {
	text   string
	causes []error
}

func (r *refusals) Error() string   { return r.text }
func (r *refusals) Unwrap() []error { return r.causes }
