package ewstest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// meaning is what a document says, whatever the dialect: names with their namespaces, attributes in order, text without
// the space around it, and base64 decoded. What no dialect promises is left out.
func meaning(t *testing.T, doc string) string {
	t.Helper()
	doc = strings.TrimPrefix(doc, "\ufeff")
	doc = regexp.MustCompile(`^<\?xml [^>]*>`).ReplaceAllString(doc, "") // encoding/xml knows neither 1.1 nor utf-16
	d := xml.NewDecoder(strings.NewReader(doc))
	var b strings.Builder
	var text []string
	skip := 0
	for {
		tok, err := d.Token()
		if err != nil {
			if err != io.EOF { //nolint:errorlint // only the bare io.EOF is the end
				t.Fatalf("%v: %s", err, doc)
			}
			return b.String()
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if skip > 0 || tok.Name.Local == "FutureElement" || tok.Name.Local == "Attachments" || tok.Name.Local == "ServerVersionInfo" {
				skip++
				continue
			}
			fmt.Fprintf(&b, "<%s %s", tok.Name.Space, tok.Name.Local)
			slices.SortFunc(tok.Attr, func(a, b xml.Attr) int { return strings.Compare(a.Name.Local, b.Name.Local) })
			for _, a := range tok.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" && a.Name.Local != "FutureUse" {
					fmt.Fprintf(&b, " %s=%q", a.Name.Local, a.Value)
				}
			}
			b.WriteString(">\n")
			text = append(text, "")
		case xml.CharData:
			if len(text) > 0 && skip == 0 {
				text[len(text)-1] += string(tok)
			}
		case xml.EndElement:
			if skip > 0 {
				skip--
				continue
			}
			last := len(text) - 1
			content := text[last]
			if text = text[:last]; tok.Name.Local == "MimeContent" {
				content = decode(t, content)
			}
			if tok.Name.Local == "faultcode" {
				content = "" // dialects differ
			}
			fmt.Fprintf(&b, "%s\n</%s>\n", strings.TrimSpace(content), tok.Name.Local)
		}
	}
}

// decode reads base64 as tolerantly as clients must.
func decode(t *testing.T, text string) string {
	t.Helper()
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n=", r) {
			return -1
		}
		return r
	}, text)
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		t.Errorf("%v: %.100s", err, text)
	}
	return string(raw)
}

// nasty is a message whose octets are all there are, several lines of base64 long, and no multiple of three.
var nasty = func() []byte {
	b := []byte("Subject: <&\"'>]]> \xc3\xa4\r\n\r\n")
	for i := range 500 {
		b = append(b, byte(i))
	}
	return append(b, bytes.Repeat([]byte{'x'}, 2-len(b)%3+2)...)
}()

// conversations are requests whose answers together use most of what answers are made of.
func conversations(mb *ewstest.Mailbox) map[string]string {
	ids := mb.Deliver("Inbox", nasty, []byte("Subject: b\r\n\r\nb"))
	return map[string]string{
		"folders": getInboxes(2), "items": getItems(ids...), "missing": getItems(ids[0], "AAMkADAwAA=="),
		"hierarchy": envelope("", `<m:SyncFolderHierarchy><m:FolderShape><t:BaseShape>AllProperties</t:BaseShape></m:FolderShape></m:SyncFolderHierarchy>`),
		"fault":     envelope("", `<m:GetFolder/>`),
	}
}

func TestDialectsSayTheSame(t *testing.T) {
	srv, mb := server(t, &ewstest.Options{AllowBadRequests: true})
	c := alice(t, srv)
	dialects := ewstest.Dialects()
	for seed := range uint64(20) {
		dialects[fmt.Sprintf("random %d", seed)] = ewstest.RandomDialect(seed)
	}
	for what, body := range conversations(mb) {
		plain := c.call(body).body
		want := meaning(t, plain)
		for name, d := range dialects {
			srv.SetDialect(d)
			got := c.call(body).body
			if meaning := meaning(t, got); meaning != want && (what != "fault" || d.Faults < ewstest.FaultNoDetail) {
				t.Errorf("%s in %s: %s", what, name, difference(meaning, want))
			}
			if name != "plain" && got == plain && slices.Contains(distinct[what], name) {
				t.Errorf("%s in %s is the same octet for octet", what, name)
			}
		}
		srv.SetDialect(ewstest.Dialect{})
	}
}

// difference is the first line that differs.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: got %q, want %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}

// distinct are dialects that must show in an answer.
var distinct = map[string][]string{"items": {
	"prefixes SOAP", "prefixes soap11", "prefixes a e h", "default namespaces", "no declaration", "XML 1.1", "utf-16 declared", "byte order mark",
	"pretty", "single quotes", "spaces", "nested", "padded numbers", "no Version", "no server info", "base64 LF", "base64 CRLF", "base64 references",
	"base64 spaces", "base64 tabs", "base64 no padding", "base64 CDATA",
}}

func TestDialectsLookAsTheyShould(t *testing.T) {
	srv, mb := server(t, nil)
	id := mb.Deliver("Inbox", nasty)[0]
	c := alice(t, srv)
	for name, test := range map[string]struct {
		d    ewstest.Dialect
		want string // a regular expression
	}{
		"SOAP":        {ewstest.Dialect{Prefixes: ewstest.PrefixSOAP}, `<SOAP:Envelope [^>]*xmlns:M="http`},
		"default":     {ewstest.Dialect{Prefixes: ewstest.PrefixDefault}, `<MimeContent xmlns="http[^"]*/types"|<Message xmlns="http[^"]*/types"|<Items`},
		"1.1":         {ewstest.Dialect{Declaration: ewstest.DeclareXML11}, `^<\?xml version="1.1"`},
		"utf-16":      {ewstest.Dialect{Declaration: ewstest.DeclareUTF16}, `^<\?xml version="1.0" encoding="utf-16"`},
		"none":        {ewstest.Dialect{Declaration: ewstest.DeclareNone}, `^<s:Envelope`},
		"BOM":         {ewstest.Dialect{BOM: true}, "^\ufeff<"},
		"pretty":      {ewstest.Dialect{Pretty: true}, `<s:Body>\n    <m:GetItemResponse>\n`},
		"CRLF":        {ewstest.Dialect{Pretty: true, CRLF: true}, `<s:Body>\r\n    <m:GetItemResponse>\r\n`},
		"quotes":      {ewstest.Dialect{SingleQuotes: true}, `ResponseClass='Success'`},
		"spaces":      {ewstest.Dialect{Spaces: true}, `<m:ResponseCode>\s+NoError\s+</m:ResponseCode\s+>`},
		"comments":    {ewstest.Dialect{Comments: true}, `<!--|<\?note`},
		"extra":       {ewstest.Dialect{Extra: true}, `FutureElement>|FutureUse="`},
		"nested":      {ewstest.Dialect{Nested: true}, `</t:MimeContent><t:ItemId [^>]*>.*<t:ItemAttachment>.*<t:MimeContent [^>]*>UmVj.*<t:Content>`},
		"padded":      {ewstest.Dialect{Server: ewstest.ServerInfoPadded}, `MajorVersion="015" MinorVersion="01"`},
		"no version":  {ewstest.Dialect{Server: ewstest.ServerInfoNoVersion}, `MinorBuildNumber="6"/>`},
		"no info":     {ewstest.Dialect{Server: ewstest.ServerInfoAbsent}, `<s:Header/>`},
		"LF":          {ewstest.Dialect{Base64: ewstest.Base64LF}, `[A-Za-z0-9+/]{76}\n[A-Za-z0-9+/]`},
		"CRLF base64": {ewstest.Dialect{Base64: ewstest.Base64CRLF}, `[A-Za-z0-9+/]{76}\r\n[A-Za-z0-9+/]`},
		"references":  {ewstest.Dialect{Base64: ewstest.Base64References}, `[A-Za-z0-9+/]{76}&#xD;\n[A-Za-z0-9+/]`},
		"tabs":        {ewstest.Dialect{Base64: ewstest.Base64Tabs}, `[A-Za-z0-9+/]{76}\t[A-Za-z0-9+/]`},
		"no padding":  {ewstest.Dialect{Base64: ewstest.Base64NoPadding}, `[A-Za-z0-9+/]</t:MimeContent>`},
		"padding":     {ewstest.Dialect{}, `=</t:MimeContent>`},
		"CDATA":       {ewstest.Dialect{Base64: ewstest.Base64CDATA}, `<t:MimeContent[^>]*><!\[CDATA\[[A-Za-z0-9+/=]+\]\]></t:MimeContent>`},
		"empty":       {ewstest.Dialect{Base64: ewstest.Base64Empty}, `<t:MimeContent[^>]*/><t:ItemId`},
		"absent":      {ewstest.Dialect{Base64: ewstest.Base64Absent}, `<t:Message><t:ItemId`},
	} {
		srv.SetDialect(test.d)
		found := false
		var body string
		for range 5 { // some are by chance
			body = c.must(getItems(id)).body
			found = found || regexp.MustCompile(`(?s)`+test.want).MatchString(body)
		}
		if !found {
			t.Errorf("%s: %s is not in %s", name, test.want, body)
		}
	}
}

func TestFaultLayouts(t *testing.T) {
	for name, test := range map[string]struct {
		version string
		d       ewstest.Dialect
		status  int
		want    string
	}{
		"usual":     {"2016", ewstest.Dialect{}, 500, `<s:Fault><faultcode xmlns:a="[^"]*">a:ErrorServerBusy</faultcode><faultstring .*<detail>.*<e:ResponseCode>ErrorServerBusy<.*<t:MessageXml>`},
		"at 200":    {"2016", ewstest.Dialect{FaultStatus: 200}, 200, `<s:Fault>`},
		"unprefix":  {"2016", ewstest.Dialect{Faults: ewstest.FaultUnprefix}, 500, `<faultcode>ErrorServerBusy</faultcode>`},
		"generic":   {"2016", ewstest.Dialect{Faults: ewstest.FaultGeneric}, 500, `>soap11:Client</faultcode>.*<e:ResponseCode>ErrorServerBusy<`},
		"no detail": {"2016", ewstest.Dialect{Faults: ewstest.FaultNoDetail}, 500, `<faultcode>ErrorServerBusy</faultcode><faultstring [^>]*>[^<]*</faultstring></s:Fault>`},
		"text":      {"2016", ewstest.Dialect{Faults: ewstest.FaultFirstText}, 500, `<s:Fault><detail>.*<faultcode`},
		"no code":   {"2016", ewstest.Dialect{Faults: ewstest.FaultNoCode}, 500, `<s:Fault><faultcode>Server</faultcode><faultstring [^>]*>[^<]*</faultstring></s:Fault>`},
		"empty":     {"2016", ewstest.Dialect{Faults: ewstest.FaultEmpty}, 500, `<s:Fault/>`},
		"2007":      {"2007_SP1", ewstest.Dialect{}, 500, `<s:Header><t:ServerVersionInfo .*>soap11:`},
	} {
		srv, _ := server(t, &ewstest.Options{Version: test.version, Dialect: test.d})
		srv.Fail(ewstest.On(""), ewstest.Busy(1e9))
		body := strings.ReplaceAll(getInbox, "Exchange2010_SP2", "Exchange2007_SP1")
		r := alice(t, srv).call(body)
		if r.status != test.status || !regexp.MustCompile(`(?s)`+test.want).MatchString(r.body) {
			t.Errorf("%s: got status %d, %s", name, r.status, r.body)
		}
	}
}

func TestDirt(t *testing.T) {
	for dirt, want := range map[ewstest.Dirt]string{
		ewstest.DirtReferences: "&#x0;&#x1A;&#xFFFE;&#xD800;", ewstest.DirtControls: "\x01", ewstest.DirtUTF8: "\xff\xc3(", ewstest.DirtNonchars: "\uFFFE",
	} {
		srv, _ := server(t, &ewstest.Options{Dialect: ewstest.Dialect{Dirt: dirt}})
		body := alice(t, srv).must(getInbox).body
		if !strings.Contains(body, "<t:DisplayName>"+want) || strings.Contains(body, "<m:ResponseCode>"+want) {
			t.Errorf("%q: %s", want, body)
		}
		if utf8.ValidString(body) == (dirt == ewstest.DirtUTF8) {
			t.Errorf("%q: valid UTF-8 %t", want, utf8.ValidString(body))
		}
	}
}

func TestGzip(t *testing.T) {
	srv, _ := server(t, nil)
	c := alice(t, srv)
	plain := c.must(getInbox)
	if plain.header.Get("Content-Encoding") != "" {
		t.Errorf("nobody asked for %q", plain.header)
	}
	zipped := c.must(getInbox, "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(strings.NewReader(zipped.body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != plain.body || zipped.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got %v, %q, %s", err, zipped.header, got)
	}
	srv.SetDialect(ewstest.Dialect{NoGzip: true})
	if r := c.must(getInbox, "Accept-Encoding", "gzip"); r.body != plain.body {
		t.Errorf("got %q", r.header)
	}
}

func TestShredsSendTheSame(t *testing.T) {
	srv, mb := server(t, &ewstest.Options{AllowBadRequests: true})
	c := alice(t, srv)
	for what, body := range conversations(mb) {
		want := c.call(body).body
		for name, sh := range ewstest.Shreds() {
			srv.SetShred(sh)
			if got := c.call(body); got.err != nil || got.body != want {
				t.Errorf("%s, %s: got %v, %s\nwant %s", what, name, got.err, got.body, want)
			}
		}
		srv.SetShred(ewstest.Shred{})
	}
}

// chunks returns the chunks of HTTP that an answer comes in.
func chunks(t *testing.T, srv *ewstest.Server, body string) (list []string) {
	t.Helper()
	conn, err := srv.Env().Dial(t.Context(), "tcp", "exchange.corp.test:80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST /ews/exchange.asmx HTTP/1.1\r\nHost: exchange.corp.test\r\nAuthorization: %s\r\nContent-Type: text/xml; charset=utf-8\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", basic(aliceAddress, alicePassword), len(body), body); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	_, rest, _ := strings.Cut(string(raw), "\r\n\r\n")
	for {
		size := 0
		if _, err := fmt.Sscanf(rest, "%x", &size); err != nil {
			t.Fatalf("%v: %q", err, rest)
		}
		if size == 0 {
			return list
		}
		_, rest, _ = strings.Cut(rest, "\r\n")
		list = append(list, rest[:size])
		rest = rest[size+2:]
	}
}

func TestShredsCutWhereItHurts(t *testing.T) {
	srv, mb := server(t, &ewstest.Options{Auth: ewstest.Authentication{AllowPlain: true}, Dialect: ewstest.Dialect{Pretty: true, CRLF: true, Base64: ewstest.Base64References}})
	id := mb.Deliver("Inbox", nasty)[0]
	srv.SetShred(ewstest.Shred{Chunk: 1})
	for _, chunk := range chunks(t, srv, getInbox) {
		if len(chunk) != 1 {
			t.Fatalf("a chunk has %d octets", len(chunk))
		}
	}
	srv.SetShred(ewstest.Shred{Chunk: -100})
	sizes := make(map[int]bool)
	for _, chunk := range chunks(t, srv, getInbox) {
		sizes[len(chunk)] = true
	}
	if len(sizes) < 5 || sizes[101] {
		t.Errorf("chunks of at most 100 octets at random have the sizes %v", sizes)
	}
	srv.SetShred(ewstest.Shred{Hostile: true})
	list := chunks(t, srv, getItems(id))
	for name, test := range map[string]struct{ end, begin string }{
		"within a tag":        {`<$`, `^t:MimeContent`},
		"within an end tag":   {`^/$`, `^t:MimeContent`},
		"behind an ampersand": {`&$`, `^#xD`},
		"before a semicolon":  {`&?#xD$`, `^;`},
		"between CR and LF":   {`\r$`, `^\n`},
		"within base64":       {`[A-Za-z0-9+/]$`, `^[A-Za-z0-9+/]`},
	} {
		found := false
		for i := 1; i < len(list); i++ {
			found = found || regexp.MustCompile(test.end).MatchString(list[i-1]) && regexp.MustCompile(test.begin).MatchString(list[i])
		}
		if !found {
			t.Errorf("%s: no cut among %q", name, list)
		}
	}
	if r := alice(t, srv).send(t.Context(), http.MethodPost, serverURL, getItems(id)); r.status != http.StatusOK {
		t.Errorf("got status %d", r.status)
	}
}
