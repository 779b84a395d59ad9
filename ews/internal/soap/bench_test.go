package soap_test

import (
	"encoding/base64"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/ews/internal/soap"
)

// mailbox makes an answer of about 40 MB with items of that many octets, as Exchange writes it: the MIME in one piece, ids of
// 152 octets, and the properties that a fetch asks for.
func mailbox(size int) (document string, octets int64) {
	mime := encode(strings.Repeat("Subject: 0123456789abcdef 0123456789abcdef 0123456789abcdef\r\n\r\n", size/48+1)[:size])
	id := strings.Repeat("AAMkAGI2", 19)
	one := success("GetItem", `<m:Items><t:Message><t:MimeContent CharacterSet="UTF-8">`+mime+`</t:MimeContent><t:ItemId Id="`+id+
		`" ChangeKey="CQAAABYAAAAiIsqMbYjsT5e/T7KzowPTAAANJjGT"/><t:ItemClass>IPM.Note</t:ItemClass><t:DateTimeReceived>2026-11-23T12:00:00Z</t:DateTimeReceived>`+
		`<t:Size>`+strconv.Itoa(size)+`</t:Size><t:IsRead>true</t:IsRead></t:Message></m:Items>`)
	n := max(2, 40<<20/len(one))
	messages := make([]string, n)
	for i := range messages {
		messages[i] = one
	}
	return answer("GetItem", messages...), int64(n * size)
}

func byReader(r io.Reader) (octets int64, err error) {
	reader := soap.NewReader(r, "GetItem")
	buf := make([]byte, 32<<10)
	for {
		resp, err := reader.Next()
		switch {
		case err == io.EOF: //nolint:errorlint // the end is bare
			return octets, nil
		case err != nil:
			return octets, err
		}
		n, err := io.CopyBuffer(onlyWriter{io.Discard}, resp.Body(), buf)
		octets += n
		if err != nil {
			return octets, err
		}
	}
}

// byXML is what a program does without a reader of its own: the tokens of encoding/xml, and base64.
func byXML(r io.Reader) (octets int64, err error) {
	d := xml.NewDecoder(r)
	inside := false
	for {
		token, err := d.Token()
		switch {
		case err == io.EOF: //nolint:errorlint // the end is bare
			return octets, nil
		case err != nil:
			return octets, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			inside = token.Name.Local == "MimeContent"
		case xml.EndElement:
			inside = false
		case xml.CharData:
			if inside {
				n, err := io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, strings.NewReader(string(token))))
				octets += n
				if err != nil {
					return octets, err
				}
			}
		}
	}
}

func discard(r io.Reader) (int64, error) { return io.Copy(io.Discard, onlyReader{r}) }

type onlyReader struct{ io.Reader }

var sizes = []struct {
	name  string
	bytes int
}{{"20KB", 20 << 10}, {"75KB", 75 << 10}, {"5MB", 5 << 20}}

// Rivals read in turn, so that a busy machine is busy for all of them.
type rival struct {
	name string
	read func(io.Reader) (int64, error)
}

// race reads the answer by each rival in every round, and reports the MB/s of each, counted in octets of MIME, and how many
// times as fast as the others the Reader is.
func race(b *testing.B, octets int64, rivals []rival, open func() io.ReadCloser) {
	spent := map[string]time.Duration{}
	for b.Loop() {
		for _, rival := range rivals {
			start := time.Now()
			r := open()
			n, err := rival.read(r)
			if err != nil || rival.name != "discard" && n != octets {
				b.Fatalf("%s: got %d octets and %v, want %d", rival.name, n, err, octets)
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
			spent[rival.name] += time.Since(start)
		}
	}
	for _, rival := range rivals {
		b.ReportMetric(float64(octets)*float64(b.N)/spent[rival.name].Seconds()/1e6, rival.name+"-MB/s")
	}
	for name, d := range spent {
		b.ReportMetric(d.Seconds()/spent["reader"].Seconds(), "x-"+name)
	}
	b.ReportMetric(0, "ns/op") // of all three together: says nothing
}

// BenchmarkMemory compares the Reader with encoding/xml and base64 on the same answer in memory.
func BenchmarkMemory(b *testing.B) {
	for _, size := range sizes {
		document, octets := mailbox(size.bytes)
		b.Run(size.name, func(b *testing.B) {
			race(b, octets, []rival{{"reader", byReader}, {"xml", byXML}}, func() io.ReadCloser { return io.NopCloser(strings.NewReader(document)) })
		})
	}
}

// BenchmarkTLS compares them over HTTP and TLS on loopback.
func BenchmarkTLS(b *testing.B) {
	for _, size := range sizes {
		document, octets := mailbox(size.bytes)
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(document)))
			_, _ = io.WriteString(w, document) // a client that goes away is the benchmark's end
		}))
		srv.Client().Transport.(*http.Transport).ReadBufferSize = 64 << 10
		b.Run(size.name, func(b *testing.B) {
			race(b, octets, []rival{{"discard", discard}, {"reader", byReader}, {"xml", byXML}}, func() io.ReadCloser {
				resp, err := srv.Client().Get(srv.URL)
				if err != nil {
					b.Fatal(err)
				}
				return resp.Body
			})
		})
		srv.Close()
	}
}

// BenchmarkSync reads a full page of SyncFolderItems.
func BenchmarkSync(b *testing.B) {
	change := `<t:Create><t:Message><t:ItemId Id="` + strings.Repeat("AAMkAGI2", 19) + `" ChangeKey="CQAAABYAAAAiIsqMbYjsT5e/T7KzowPTAAANJjGT"/></t:Message></t:Create>`
	document := answer("SyncFolderItems", success("SyncFolderItems", "<m:SyncState>"+strings.Repeat("H4sIAAAA", 200)+
		"</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes>"+strings.Repeat(change, 512)+"</m:Changes>"))
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := soap.NewReader(strings.NewReader(document), "SyncFolderItems").Next()
		if err != nil || len(resp.Changes) != 512 {
			b.Fatal(err)
		}
	}
}
