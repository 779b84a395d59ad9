package ewstest_test

import (
	"bufio"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// subscribe makes a streaming subscription on the inbox, and returns its id and the cookie.
func subscribe(c *bareClient) (id, cookie string) {
	c.t.Helper()
	r := c.must(envelope("", `<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds><t:DistinguishedFolderId Id="inbox"/></t:FolderIds>`+
		`<t:EventTypes><t:EventType>NewMailEvent</t:EventType><t:EventType>DeletedEvent</t:EventType></t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>`))
	_, rest, _ := strings.Cut(r.body, "SubscriptionId>")
	id, _, ok := strings.Cut(rest, "<")
	if !ok {
		c.t.Fatal(r.body)
	}
	cookie, _, _ = strings.Cut(r.header.Get("Set-Cookie"), ";")
	return id, cookie
}

func streamOf(ids ...string) string {
	list := ""
	for _, id := range ids {
		list += "<t:SubscriptionId>" + id + "</t:SubscriptionId>"
	}
	return envelope("", `<m:GetStreamingEvents><m:SubscriptionIds>`+list+`</m:SubscriptionIds><m:ConnectionTimeout>1</m:ConnectionTimeout></m:GetStreamingEvents>`)
}

// An opened is an answer that is being read.
type opened struct {
	t    *testing.T
	body io.ReadCloser
	r    *bufio.Reader
	stop context.CancelFunc
}

func (c *bareClient) stream(headers ...string) func(body string) *opened {
	return func(body string) *opened {
		c.t.Helper()
		ctx, stop := context.WithCancel(c.t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, serverURL, strings.NewReader(body))
		if err != nil {
			c.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/xml; charset=utf-8")
		req.Header.Set("Authorization", c.auth)
		for ; len(headers) > 1; headers = headers[2:] {
			req.Header.Set(headers[0], headers[1])
		}
		resp, err := c.http.Do(req) //nolint:bodyclose // close does it
		if err != nil {
			c.t.Fatal(err)
		}
		o := &opened{t: c.t, body: resp.Body, r: bufio.NewReader(resp.Body), stop: stop}
		c.t.Cleanup(o.close)
		return o
	}
}

func (o *opened) close() {
	o.stop()
	_ = o.body.Close() // it may be closed already
}

// An envelopeOf is one of many in an answer.
type envelopeOf struct {
	text   string
	Status string   `xml:"Body>GetStreamingEventsResponse>ResponseMessages>GetStreamingEventsResponseMessage>ConnectionStatus"`
	Code   string   `xml:"Body>GetStreamingEventsResponse>ResponseMessages>GetStreamingEventsResponseMessage>ResponseCode"`
	Lost   []string `xml:"Body>GetStreamingEventsResponse>ResponseMessages>GetStreamingEventsResponseMessage>ErrorSubscriptionIds>SubscriptionId"`
	Notes  []struct {
		Subscription string `xml:"SubscriptionId"`
		Events       []struct {
			XMLName xml.Name
			Item    struct {
				ID string `xml:"Id,attr"`
			} `xml:"ItemId"`
			Watermark string `xml:"Watermark"`
		} `xml:",any"`
	} `xml:"Body>GetStreamingEventsResponse>ResponseMessages>GetStreamingEventsResponseMessage>Notifications>Notification"`
}

// next reads one Envelope; ok is false at the end of the answer.
func (o *opened) next() (e envelopeOf, ok bool) {
	o.t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "Envelope>") || strings.HasSuffix(b.String(), "<Envelope>") {
		c, err := o.r.ReadByte()
		if err != nil {
			return e, false
		}
		b.WriteByte(c)
	}
	if err := xml.Unmarshal([]byte(b.String()), &e); err != nil {
		o.t.Fatalf("%v: %s", err, b.String())
	}
	e.text = b.String()
	return e, true
}

// events are the names and ids of all events of an Envelope.
func (e envelopeOf) events() (list []string) {
	for _, n := range e.Notes {
		for _, ev := range n.Events {
			list = append(list, ev.XMLName.Local+" "+ev.Item.ID)
		}
	}
	return list
}

func (o *opened) want(what string, good func(envelopeOf) bool) envelopeOf {
	o.t.Helper()
	e, ok := o.next()
	if !ok || !good(e) {
		o.t.Fatalf("want %s, got (there was one: %t) %s", what, ok, e.text)
	}
	return e
}

func alive(e envelopeOf) bool { return e.Status == "OK" && e.Code == "NoError" && len(e.Notes) == 0 }

func TestStreamTellsEventsHeartbeatsAndItsEnd(t *testing.T) {
	clock := newClock()
	srv, mb := server(t, &ewstest.Options{Clock: clock})
	c := alice(t, srv)
	id, _ := subscribe(c)
	first := mb.Deliver("Inbox", []byte("Subject: a\r\n\r\na"))[0]
	o := alice(t, srv).stream()(streamOf(id))
	o.want("a beginning", alive)
	got := o.want("what came before", func(e envelopeOf) bool { return len(e.Notes) == 1 && e.Notes[0].Subscription == id })
	if got := got.events(); !slices.Equal(got, []string{"NewMailEvent " + first}) {
		t.Errorf("got %q", got)
	}
	second := mb.Deliver("Inbox", []byte("Subject: b\r\n\r\nb"))[0]
	got = o.want("an event", func(e envelopeOf) bool { return len(e.Notes) == 1 })
	if events := got.events(); !slices.Equal(events, []string{"NewMailEvent " + second}) || got.Notes[0].Events[0].Watermark != "" {
		t.Errorf("got %q", got.text)
	}
	mb.Deliver("Drafts", []byte("Subject: c\r\n\r\nc")) // another folder
	clock.advance(45 * time.Second)
	o.want("a heartbeat", alive)
	clock.advance(15 * time.Second)
	for {
		e, ok := o.next()
		if !ok {
			t.Fatal("the answer ends without Closed")
		}
		if e.Status == "Closed" {
			break
		}
	}
	if _, ok := o.next(); ok {
		t.Error("there is something behind Closed")
	}
	if srv.Streams() != 0 {
		t.Errorf("%d streams are open", srv.Streams())
	}
}

func TestStreamsThatMisbehave(t *testing.T) {
	clock := newClock()
	run := func(s ewstest.Streaming) (*ewstest.Server, *ewstest.Mailbox, *opened) {
		srv, mb := server(t, &ewstest.Options{Clock: clock, Streaming: s})
		c := alice(t, srv)
		id, _ := subscribe(c)
		o := alice(t, srv).stream()(streamOf(id))
		o.want("a beginning", alive)
		return srv, mb, o
	}
	letters := [][]byte{[]byte("Subject: a\r\n\r\na"), []byte("Subject: b\r\n\r\nb")}
	t.Run("several Envelopes at once, with other prefixes", func(t *testing.T) {
		srv, mb := server(t, &ewstest.Options{Clock: clock, Streaming: ewstest.Streaming{Together: true, ChangePrefixes: true}})
		id, _ := subscribe(alice(t, srv))
		ids := mb.Deliver("Inbox", letters...)
		o := alice(t, srv).stream()(streamOf(id))
		seen := []string{o.want("a beginning", alive).text}
		for _, want := range ids {
			e := o.want("one event", func(e envelopeOf) bool { return slices.Equal(e.events(), []string{"NewMailEvent " + want}) })
			seen = append(seen, e.text)
		}
		for i, text := range seen[1:] {
			if _, after, _ := strings.Cut(text, "?>"); strings.HasPrefix(seen[i], text[:len(text)-len(after)+6]) {
				t.Errorf("the prefixes of Envelope %d are those of the one before: %.80s", i+1, text)
			}
		}
	})
	t.Run("no Closed", func(t *testing.T) {
		_, _, o := run(ewstest.Streaming{NoClosed: true})
		clock.advance(time.Minute)
		for {
			e, ok := o.next()
			if !ok {
				break
			}
			if e.Status == "Closed" {
				t.Error("the answer ends with Closed")
			}
		}
	})
	t.Run("an error for ever", func(t *testing.T) {
		_, mb, o := run(ewstest.Streaming{Error: "ErrorReadEventsFailed"})
		for range 3 {
			mb.Deliver("Inbox", letters[0])
			o.want("an error", func(e envelopeOf) bool {
				return e.Code == "ErrorReadEventsFailed" && e.Status == "OK" && len(e.Notes) == 0
			})
		}
	})
	t.Run("events that are missed", func(t *testing.T) {
		_, mb, o := run(ewstest.Streaming{Miss: 1})
		ids := mb.Deliver("Inbox", letters...)
		o.want("the second", func(e envelopeOf) bool { return slices.Equal(e.events(), []string{"NewMailEvent " + ids[1]}) })
	})
	t.Run("silence", func(t *testing.T) {
		srv, mb, o := run(ewstest.Streaming{Silent: true})
		mb.Deliver("Inbox", letters...)
		clock.advance(2 * time.Minute)
		if srv.Streams() != 1 {
			t.Error("the answer is over")
		}
		o.close()
		if _, ok := o.next(); ok {
			t.Error("there is an answer")
		}
		wait(t, func() bool { return srv.Streams() == 0 })
	})
	t.Run("a subscription that ends", func(t *testing.T) {
		srv, _, o := run(ewstest.Streaming{})
		srv.ExpireSubscriptions()
		o.want("an end", func(e envelopeOf) bool {
			return e.Code == "ErrorSubscriptionNotFound" && e.Status == "Closed" && len(e.Lost) == 1
		})
		if _, ok := o.next(); ok {
			t.Error("the answer goes on")
		}
	})
}

func TestStreamsNeedAffinity(t *testing.T) {
	srv, _ := server(t, &ewstest.Options{Streaming: ewstest.Streaming{NeedAffinity: true}})
	c := alice(t, srv)
	id, cookie := subscribe(c)
	if !strings.HasPrefix(cookie, "X-BackEndOverrideCookie=") {
		t.Fatalf("got the cookie %q", cookie)
	}
	without := alice(t, srv).stream()(streamOf(id))
	without.want("an error", func(e envelopeOf) bool {
		return e.Code == "ErrorSubscriptionNotFound" && slices.Equal(e.Lost, []string{id})
	})
	with := alice(t, srv).stream("Cookie", cookie)(streamOf(id))
	with.want("a beginning", alive)
}

func TestStreamsAreLimited(t *testing.T) {
	for version, most := range map[string]int{"2013": 3, "2016": 10} {
		srv, _ := server(t, &ewstest.Options{Version: version})
		id, _ := subscribe(alice(t, srv))
		for range most {
			alice(t, srv).stream()(streamOf(id)).want("a beginning", alive)
		}
		alice(t, srv).stream()(streamOf(id)).want("a refusal", func(e envelopeOf) bool { return e.Code == "ErrorExceededConnectionCount" })
	}
}
