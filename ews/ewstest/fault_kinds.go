package ewstest

import (
	"bytes"
	"net/http"
	"strings"
	"time"
)

// Busy answers ErrorServerBusy with BackOffMilliseconds, and lets the budget wait so long: see [Server.Penalty].
func Busy(d time.Duration) Fault {
	return Fault{func(p *mishap) {
		p.wait = d
		p.instead = func() *reply { return &reply{fault: busyFault(d, 0)} }
	}}
}

// BusyWithoutTime answers ErrorServerBusy with the policy MaxConcurrency, and without BackOffMilliseconds.
func BusyWithoutTime() Fault {
	return Fault{func(p *mishap) { p.instead = func() *reply { return &reply{fault: busyFault(0, 0)} } }}
}

// Refuse answers with a SOAP fault that has a code, or none if it is "", a text, and the Value elements of MessageXml by
// pairs of name and value.
func Refuse(code, text string, values ...string) Fault {
	f := &fault{code: code, text: text, server: code == "", values: pairs(values)}
	return Fault{func(p *mishap) { p.instead = func() *reply { return &reply{fault: f} } }}
}

// pairs makes pairs of a list; a last one without a partner is left out.
func pairs(list []string) (made [][2]string) {
	for ; len(list) > 1; list = list[2:] {
		made = append(made, [2]string{list[0], list[1]})
	}
	return made
}

// FailItem executes the request and answers its i-th item, counted from 0, with an error; FailItems those from the i-th on.
// values are as for [Refuse].
func FailItem(i int, code string, values ...string) Fault {
	return failItems(func(at int) bool { return at == i }, code, values)
}

// FailItems is described with [FailItem].
func FailItems(from int, code string, values ...string) Fault {
	return failItems(func(at int) bool { return at >= from }, code, values)
}

func failItems(which func(int) bool, code string, values []string) Fault {
	return changing(func(rep *reply) *reply {
		return rep.items(func(i int, m *node) *node {
			if which(i) {
				return failed(m, code, "The item failed, as the test asked.", pairs(values)...)
			}
			return m
		})
	})
}

func changing(change func(*reply) *reply) Fault {
	return Fault{func(p *mishap) { p.change = append(p.change, change) }}
}

// BusyItems answers items from the i-th on with ErrorServerBusy within an answer of HTTP 200, and lets the budget wait. With
// d 0 it tells no time.
func BusyItems(from int, d time.Duration) Fault {
	values := []string{}
	for _, v := range busyFault(d, 0).values {
		values = append(values, v[0], v[1])
	}
	inner := FailItems(from, "ErrorServerBusy", values...)
	return Fault{func(p *mishap) { p.wait = d; inner.do(p) }}
}

// InnerError answers every item with ErrorInternalServerError that has another code within.
func InnerError(code string) Fault {
	return FailItems(0, "ErrorInternalServerError", "InnerErrorResponseCode", code, "InnerErrorMessageText", "as the test asked")
}

// WarnItem makes a warning of the i-th item's answer.
func WarnItem(i int, code string) Fault {
	return changing(func(rep *reply) *reply {
		return rep.items(func(at int, m *node) *node {
			if at != i {
				return m
			}
			changed := *m
			changed.attrs = []attr{{name: "ResponseClass", value: "Warning"}}
			changed.kids = []*node{msg("MessageText").say("a warning"), msg("ResponseCode").say(code), msg("DescriptiveLinkKey").say("0")}
			for _, k := range m.kids {
				if k.name != "ResponseCode" {
					changed.kids = append(changed.kids, k)
				}
			}
			return &changed
		})
	})
}

// SwapItems answers the i-th and the j-th item in each other's place.
func SwapItems(i, j int) Fault {
	return changing(func(rep *reply) *reply {
		all := rep.body.find("ResponseMessages").children()
		if max(i, j) >= len(all) {
			return rep
		}
		return rep.items(func(at int, m *node) *node {
			switch at {
			case i:
				return all[j]
			case j:
				return all[i]
			}
			return m
		})
	})
}

// OmitItems leaves the answers out from the i-th item on.
func OmitItems(from int) Fault {
	return changing(func(rep *reply) *reply {
		return rep.items(func(i int, m *node) *node {
			if i >= from {
				return nil
			}
			return m
		})
	})
}

// OtherID puts another id into the i-th item's answer.
func OtherID(i int, id string) Fault {
	return changing(func(rep *reply) *reply {
		return rep.items(func(at int, m *node) *node {
			if at == i {
				return withID(m, id)
			}
			return m
		})
	})
}

// withID returns a copy of n in which the first ItemId on each way down is another.
func withID(n *node, id string) *node {
	changed := *n
	if n.name == "ItemId" {
		changed.attrs = nil
		for _, a := range n.attrs {
			if a.name == "Id" {
				a.value = id
			}
			changed.attrs = append(changed.attrs, a)
		}
		return &changed
	}
	changed.kids = nil
	for _, k := range n.kids {
		changed.kids = append(changed.kids, withID(k, id))
	}
	return &changed
}

// Page answers with a web page: Page(500, "Server Error in '/EWS' Application.").
func Page(status int, text string) Fault {
	return raw(func(w http.ResponseWriter, _ *http.Request) { page(w, status, text) })
}

func raw(answer func(http.ResponseWriter, *http.Request)) Fault {
	return Fault{func(p *mishap) { p.instead = func() *reply { return &reply{raw: answer} } }}
}

// Unavailable answers 503; retryAfter is the header's value, in any form, "" for no header.
func Unavailable(retryAfter string) Fault {
	return raw(func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		page(w, http.StatusServiceUnavailable, "The service is unavailable.")
	})
}

// ErrorPage redirects to /ews/genericerrorpage.htm, as Exchange does under load.
func ErrorPage() Fault { return Redirect(errorPagePath + "?aspxerrorpath=/ews/exchange.asmx") }

// Redirect answers 302.
func Redirect(location string) Fault {
	return raw(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, location, http.StatusFound) })
}

// Unauthorized answers 401 and forgets who was authenticated on the connection.
func Unauthorized() Fault { return Fault{func(p *mishap) { p.revoke = true }} }

// HangUp closes the connection before the request is executed.
func HangUp() Fault { return Fault{func(p *mishap) { p.hangUp = true }} }

// Lose executes the request, and closes the connection without an answer.
func Lose() Fault { return Fault{func(p *mishap) { p.lose = true }} }

// Header adds a header to the answer: Header("Connection", "close").
func Header(key, value string) Fault { return Fault{func(p *mishap) { p.header.Add(key, value) }} }

// CutAfter closes the connection behind so many octets of the answer's body, over TLS without a word. ResetAfter resets it,
// and StallAfter falls silent until the client goes.
func CutAfter(octets int64) Fault { return breaking(octets, endClosed) }

// ResetAfter is described with [CutAfter].
func ResetAfter(octets int64) Fault { return breaking(octets, endReset) }

// StallAfter is described with [CutAfter].
func StallAfter(octets int64) Fault { return breaking(octets, endSilent) }

func breaking(octets int64, how ending) Fault {
	return Fault{func(p *mishap) { p.cut, p.ending = octets, how }}
}

// SlowTo sends the answer's body at so many octets in a second.
func SlowTo(octets int64) Fault { return Fault{func(p *mishap) { p.rate = octets }} }

// WrongLength tells a Content-Length that is too large by so many octets, or with a negative number too small.
func WrongLength(by int64) Fault { return Fault{func(p *mishap) { p.length = by }} }

// In answers in a dialect of its own.
func In(d Dialect) Fault { return Fault{func(p *mishap) { p.dialect = &d }} }

// Shredded cuts the answer up in a way of its own.
func Shredded(sh Shred) Fault { return Fault{func(p *mishap) { p.shred = &sh }} }

// Rewrite replaces the body of the answer, whatever it is.
func Rewrite(change func(body []byte) []byte) Fault {
	return Fault{func(p *mishap) { p.rewrite = append(p.rewrite, change) }}
}

// Unclosed leaves the end tags of the Envelope and its Body out.
func Unclosed() Fault {
	return Rewrite(func(body []byte) []byte {
		for range 2 {
			if i := bytes.LastIndex(body, []byte("</")); i >= 0 {
				body = body[:i]
			}
		}
		return body
	})
}

// Garbage adds text behind the Envelope.
func Garbage(text string) Fault {
	return Rewrite(func(body []byte) []byte { return append(body, text...) })
}

// EndlessAttribute, EndlessText and Deep answer with an attribute, a text, or a nesting of elements that has no end: they go on
// until the client goes, for a GiB at most.
func EndlessAttribute() Fault { return endless(`<FutureUse a="`, "aaaaaaaaaaaaaaaa") }

// EndlessText is described with [EndlessAttribute].
func EndlessText() Fault { return endless("<FutureText>", "some text and no end ") }

// Deep is described with [EndlessAttribute].
func Deep() Fault { return endless("", "<Deep>") }

// endlessOctets is where what has no end ends.
const endlessOctets = 1 << 30

func endless(start, again string) Fault {
	return Fault{func(p *mishap) {
		p.endless = func(write func(string) bool) {
			block := strings.Repeat(again, 16<<10/len(again))
			for sent := 0; sent < endlessOctets && write(start+block); sent += len(block) {
				start = ""
			}
		}
	}}
}

// GzipBomb answers with a GiB of white space in a few KiB of gzip, also to clients that do not accept it.
func GzipBomb() Fault {
	return Fault{func(p *mishap) {
		p.bomb = true
		endless("", "                ").do(p)
	}}
}
