package gmail_test

import (
	"context"
	"encoding/base64"
	"io"
	"testing"
	"time"

	"golang.org/x/oauth2"
	gapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// madeUp is the content of a message of any size, made while it is read.
type madeUp int64

const madeUpLine = "A message of this size is made up of lines, and its octets are compared by nobody.\r\n"

// Size implements [gmailtest.Content].
func (m madeUp) Size() int64 { return int64(m) }

// ReadAt implements [io.ReaderAt].
func (m madeUp) ReadAt(p []byte, off int64) (n int, err error) {
	if off >= int64(m) {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), int64(m)-off)]
	for n < len(p) {
		n += copy(p[n:], madeUpLine[(off+int64(n))%int64(len(madeUpLine)):])
	}
	return n, nil
}

// A benchRig is a server, and a driver that no quota slows down.
type benchRig struct {
	*gmailtest.Server
	conn  *gmail.Conn
	token string
}

const benchUser = "ann@corp.example"

func newBenchRig(b *testing.B, o *gmailtest.Options) *benchRig {
	b.Helper()
	r := &benchRig{Server: gmailtest.NewServer(b, o)}
	r.token = r.Token(benchUser)
	env := r.Env()
	env.Token = func(context.Context, connection.TokenRequest) (connection.Secret, error) {
		return connection.NewSecret(r.token), nil
	}
	began := time.Now()
	soon := func() time.Time { return began.Add(100_000 * time.Since(began)) } // each call finds the buckets full again
	conn, err := gmail.New(gmail.Config{Endpoint: r.URL(), CustomEndpoints: true}, env, &gmail.Options{Now: soon})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
	})
	r.conn = conn
	return r
}

// byDriver reads a message as programs do that use this driver.
func (r *benchRig) byDriver(ctx context.Context, id string) (int64, error) {
	m, err := r.conn.Open(ctx, connection.Ref{ID: id})
	if err != nil {
		return 0, err
	}
	body := m.Body.(io.ReadCloser)
	n, err := io.Copy(io.Discard, body)
	if err != nil {
		return 0, err
	}
	return n, body.Close()
}

// generated is Google's own client of the API.
func (r *benchRig) generated(b *testing.B) *gapi.Service {
	b.Helper()
	service, err := gapi.NewService(b.Context(), option.WithEndpoint(r.URL()+"/"), option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: r.token})))
	if err != nil {
		b.Fatal(err)
	}
	return service
}

// byGenerated reads a message as programs do that use the generated client.
func byGenerated(ctx context.Context, service *gapi.Service, id string) (int64, error) {
	m, err := service.Users.Messages.Get("me", id).Format("raw").Context(ctx).Do()
	if err != nil {
		return 0, err
	}
	data, err := base64.URLEncoding.DecodeString(m.Raw)
	return int64(len(data)), err
}

// BenchmarkRaw downloads messages by this driver and by the generated client, in turns, from one server: MB/s of each, and
// how many times as fast the driver is.
func BenchmarkRaw(b *testing.B) {
	for _, test := range []struct {
		name string
		size int64
		each int // messages in a turn
		gzip bool
	}{
		{"50MB", 50_000_000, 1, false},
		{"75kB", 75_000, 100, false},
		{"50MB-gzip", 50_000_000, 1, true},
		{"75kB-gzip", 75_000, 100, true},
	} {
		b.Run(test.name, func(b *testing.B) {
			r := newBenchRig(b, &gmailtest.Options{Rendering: gmailtest.Rendering{NoGzip: !test.gzip}})
			id := r.DeliverWith(benchUser, nil, gmailtest.Delivery{Content: madeUp(test.size)})
			service := r.generated(b)
			turn := func(read func(ctx context.Context) (int64, error)) time.Duration {
				began := time.Now()
				for range test.each {
					n, err := read(b.Context())
					if err != nil || n != test.size {
						b.Fatalf("got %d octets, %v", n, err)
					}
				}
				return time.Since(began)
			}
			driver := func(ctx context.Context) (int64, error) { return r.byDriver(ctx, id) }
			other := func(ctx context.Context) (int64, error) { return byGenerated(ctx, service, id) }
			turn(driver) // connections, and the labels
			turn(other)
			var ours, theirs time.Duration
			for b.Loop() {
				ours += turn(driver)
				theirs += turn(other)
			}
			octets := float64(b.N) * float64(test.each) * float64(test.size)
			b.ReportMetric(octets/1e6/ours.Seconds(), "driver-MB/s")
			b.ReportMetric(octets/1e6/theirs.Seconds(), "generated-MB/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-as-fast")
			b.ReportMetric(0, "ns/op") // of both together: it says nothing
		})
	}
}

// BenchmarkSync reads a mailbox of 10,000 messages of 20 kB for the first time.
func BenchmarkSync(b *testing.B) {
	const messages, size = 10_000, 20_000
	r := newBenchRig(b, &gmailtest.Options{Rendering: gmailtest.Rendering{NoGzip: true}})
	for range messages {
		r.DeliverWith(benchUser, nil, gmailtest.Delivery{Content: madeUp(size)})
	}
	b.ReportAllocs()
	for b.Loop() {
		found := 0
		for c, err := range r.conn.Sync(b.Context(), "", nil) {
			if err != nil {
				b.Fatal(err)
			}
			if c.Op != connection.Added {
				continue
			}
			if n, err := io.Copy(io.Discard, c.Message.Body); err != nil || n != size {
				b.Fatalf("got %d octets, %v", n, err)
			}
			found++
		}
		if found != messages {
			b.Fatalf("got %d messages, want %d", found, messages)
		}
	}
	b.ReportMetric(float64(b.N)*messages/b.Elapsed().Seconds(), "messages/s")
}
