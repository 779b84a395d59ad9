package soap_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews/internal/soap"
)

// An endless reader gives out its start, and then the same octets for ever. It counts.
type endless struct {
	start, again string
	read         int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.start)
	e.start = e.start[n:]
	for n < len(p) && e.start == "" {
		at := int(e.read+int64(n)) % len(e.again)
		n += copy(p[n:], e.again[at:])
	}
	e.read += int64(n)
	return n, nil
}

func TestE17EndlessAnswers(t *testing.T) {
	upTo := func(document, mark string) string {
		before, _, ok := strings.Cut(document, mark)
		if !ok {
			t.Fatalf("no %s in %s", mark, document)
		}
		return before
	}
	find := answer("FindItem", success("FindItem", `<m:RootFolder><t:Items><t:Message><t:Subject>`))
	sync := answer("SyncFolderItems", success("SyncFolderItems", "<m:SyncState>"))
	fields := upTo(find, "<t:Subject>")
	for name, c := range map[string]struct {
		start, again string
		most         int64 // octets that may be read
	}{
		"white space first": {"", " \r\n", 65 << 20},
		"declaration":       {"<?xml ", "version ", 65 << 20},
		"comment":           {"<!--", " - ", 65 << 20},
		"tag name":          {"<", "s:Envelope", 80 << 10},
		"attribute":         {"<s:Envelope xmlns='", "a>", 80 << 10},
		"depth":             {"", "<a>", 80 << 10},
		"text between":      {"<s:Envelope>", "text", 17 << 20},
		"header":            {"<s:Envelope><s:Header>", "<t:a/>", 65 << 20},
		"sync state":        {upTo(sync, "<m:SyncState>") + "<m:SyncState>", "H4sI", 2 << 20},
		"subject":           {fields + "<t:Subject>", "Hello", 2 << 20},
		"unknown property":  {fields + "<t:New>", "Hello", 17 << 20},
		"body":              {fields + "<t:Body>", "Hello", 17 << 20},
		"many subjects":     {fields, "<t:Subject>HelloHelloHelloHelloHelloHello</t:Subject>", 65 << 20},
		"CDATA":             {fields + "<t:Subject><![CDATA[", "]]", 17 << 20},
		"CDATA not kept":    {"<s:Envelope><s:Header><t:a><![CDATA[", "]]", 17 << 20},
		"items":             {upTo(find, "<t:Message>"), "<t:Message/>", 3 << 20},
		"properties":        {fields, `<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x1"/><t:Value/></t:ExtendedProperty>`, 12 << 20},
		"categories":        {fields + "<t:Categories>", "<t:String/>", 2 << 20},
		"messages":          {upTo(answer("FindItem"), "</m:ResponseMessages>"), "<m:M/>", 1 << 20},
		"fault values":      {"<s:Envelope><s:Body><s:Fault><detail>", `<t:Value Name="a">b</t:Value>`, 4 << 20},
		"web page":          {"<!DOCTYPE html>", "<p>Sign in</p>", 80 << 10},
	} {
		if slow && c.most > 17<<20 {
			t.Logf("%s: left to the run without the race detector", name)
			continue
		}
		op := "FindItem"
		if name == "sync state" {
			op = "SyncFolderItems"
		}
		r := &endless{start: c.start, again: strings.Repeat(c.again, 8<<10/len(c.again))}
		_, err := read(soap.NewReader(r, op))
		wantKind(t, err, connection.ErrProtocol)
		if r.read > c.most {
			t.Errorf("%s: read %d octets, want at most %d", name, r.read, c.most)
		}
	}
}

func TestE17GzipBomb(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := io.Copy(z, io.LimitReader(&endless{start: strings.TrimSuffix(answer("FindItem"), "</m:ResponseMessages></m:FindItemResponse>"+envelopeEnd) + "<m:M><m:MessageText>", again: strings.Repeat(" ", 8<<10)}, 20<<20))
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	packed := bomb.Len()
	in, err := gzip.NewReader(&bomb)
	if err != nil {
		t.Fatal(err)
	}
	allocated := allocations(func() {
		_, err = read(soap.NewReader(in, "FindItem"))
	})
	wantKind(t, err, connection.ErrProtocol)
	if allocated > 16<<20 {
		t.Errorf("%d octets made the reader allocate %d", packed, allocated)
	}
}

// allocations returns how many octets f allocates in all.
func allocations(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// large gives out an answer with one item of about that many octets of MIME, without holding it.
func large(octets int64, between string) io.Reader {
	document := answer("GetItem", item("a", "QUFB"))
	before, behind, _ := strings.Cut(document, "QUFB")
	line := strings.Repeat("QUFB", 19) + between // 57 octets
	mime := &endless{again: strings.Repeat(line, 100)}
	return io.MultiReader(strings.NewReader(before), io.LimitReader(mime, octets/57*int64(len(line))), strings.NewReader(behind))
}

func TestE27LargeMessageInLittleMemory(t *testing.T) {
	size := int64(150 << 20)
	if slow {
		size = 16 << 20
		t.Logf("with the race detector: %d octets", size)
	}
	for name, between := range map[string]string{"unbroken": "", "in lines": "\r\n"} {
		var octets int64
		var err error
		allocated := allocations(func() {
			r := newReader(large(size, between), "GetItem", "a")
			var resp *soap.Response
			if resp, err = r.Next(); err == nil {
				octets, err = io.Copy(onlyWriter{io.Discard}, resp.Body())
			}
		})
		if err != nil || octets != size/57*57 {
			t.Errorf("%s: got %d octets and %v", name, octets, err)
		}
		if allocated > 1<<20 {
			t.Errorf("%s: %d octets made the reader allocate %d", name, octets, allocated)
		}
	}
}

func TestAllocationsDoNotGrowWithTheMessage(t *testing.T) {
	buf := make([]byte, 32<<10)
	count := func(size int64) float64 {
		return testing.AllocsPerRun(5, func() {
			r := newReader(large(size, ""), "GetItem", "a")
			resp, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyBuffer(onlyWriter{io.Discard}, resp.Body(), buf); err != nil {
				t.Fatal(err)
			}
		})
	}
	small, big := count(1<<10), count(10<<20)
	if big > small+1 { // the runtime may allocate at times
		t.Errorf("1 KiB takes %v allocations, 10 MiB %v", small, big)
	}
}

func TestUploadsInLittleMemory(t *testing.T) {
	size := int64(150 << 20)
	if slow {
		size = 16 << 20
		t.Logf("with the race detector: %d octets", size)
	}
	body, err := soap.Encode(soap.Header{Version: soap.Exchange2016}, soap.CreateItem{Disposition: soap.SaveOnly, Items: []soap.NewItem{{MIME: soap.Content{R: zeros{}, Size: size}}}})
	if err != nil {
		t.Fatal(err)
	}
	var sent int64
	allocated := allocations(func() { sent, err = io.Copy(onlyWriter{io.Discard}, body.Open()) })
	if err != nil || sent != body.Len() || sent < size/3*4 {
		t.Errorf("got %d octets and %v, want %d", sent, err, body.Len())
	}
	if allocated > 1<<20 {
		t.Errorf("%d octets made the request allocate %d", sent, allocated)
	}
}

// zeros are as many zero octets as are wanted.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

func TestManyChangesAreRead(t *testing.T) {
	var changes strings.Builder
	for i := range 512 {
		fmt.Fprintf(&changes, `<t:Create><t:Message><t:ItemId Id="%0512d"/></t:Message></t:Create>`, i)
	}
	got := mustRead(t, answer("SyncFolderItems", success("SyncFolderItems", "<m:SyncState>"+strings.Repeat("H", 1<<20)+"</m:SyncState><m:Changes>"+changes.String()+"</m:Changes>")), "SyncFolderItems")
	equal(t, "changes", len(got[0].Response.Changes), 512)
	equal(t, "state", len(got[0].Response.SyncState), 1<<20)
}

// The names of elements are the server's too: what an error shows of them is short and printable.
func TestNamesInErrors(t *testing.T) {
	hostile := "a\x1b[31m" + strings.Repeat("n", 60<<10)
	for _, document := range []string{
		"<s:Envelope><" + hostile + "></b>", "<s:Envelope><" + hostile + "><!X>", "<s:Envelope><" + hostile + "><>",
		"<s:Envelope><" + hostile + "><b <c>", "<s:Envelope><" + hostile + ">",
	} {
		_, err := read(soap.NewReader(strings.NewReader(document), "FindItem"))
		wantKind(t, err, connection.ErrProtocol)
		if text := err.Error(); len(text) > 400 || strings.Contains(text, "\x1b") {
			t.Errorf("an error of %d octets: %.60q", len(text), text)
		}
	}
}

// So are the codes of a failure, which hosts show and compare.
func TestLongCodes(t *testing.T) {
	long := "Error\x1b[31m" + strings.Repeat("n", 300<<10)
	inner := "<MessageXml><Value Name='InnerErrorResponseCode'>" + long + "</Value></MessageXml>"
	for _, fault := range []string{
		"<faultcode>a:" + long + "</faultcode><faultstring>x</faultstring>",
		"<faultcode>a:b</faultcode><detail><ResponseCode>" + long + "</ResponseCode>" + inner + "</detail>",
	} {
		_, err := read(soap.NewReader(strings.NewReader("<s:Envelope><s:Body><s:Fault>"+fault+"</s:Fault></s:Body></s:Envelope>"), "FindItem"))
		var f *soap.Fault
		if !errors.As(err, &f) {
			t.Fatalf("got %v, want a fault", err)
		}
		for _, text := range []string{f.Code, f.InnerCode, f.Actor, err.Error()} {
			if len(text) > 500 || strings.Contains(text, "\x1b") {
				t.Errorf("%d octets: %.60q", len(text), text)
			}
		}
	}
	resp, err := soap.NewReader(strings.NewReader(answer("GetItem", "<m:M ResponseClass='Error'><m:ResponseCode>"+long+"</m:ResponseCode>"+inner+"</m:M>")), "GetItem").Next()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{resp.Code, resp.InnerCode()} {
		if len(text) == 0 || len(text) > 500 || strings.Contains(text, "\x1b") {
			t.Errorf("%d octets: %.60q", len(text), text)
		}
	}
}
