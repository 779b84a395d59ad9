package azureblob_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

func TestReport(t *testing.T) {
	for name, tc := range map[string]struct {
		opts   objecttest.AzureOptions
		change func(cfg *azureblob.Config)
		skew   time.Duration
		write  bool
		want   string // name=status of each step
		says   string // in the text of the report
	}{
		"reading":     {want: "resolve=ok connect=ok tls=ok auth=ok capabilities=ok open=ok read=ok write=skipped remove=skipped", says: "no retention of single objects"},
		"writing":     {write: true, want: "resolve=ok connect=ok tls=ok auth=ok capabilities=ok open=ok read=ok write=ok remove=ok", says: "refused the second time"},
		"with locks":  {opts: objecttest.AzureOptions{Locks: true}, write: true, want: "resolve=ok connect=ok tls=ok auth=ok capabilities=ok open=ok read=ok write=ok remove=ok", says: "retention and legal hold of single objects"},
		"with policy": {opts: objecttest.AzureOptions{Policy: true}, write: true, want: "resolve=ok connect=ok tls=ok auth=ok capabilities=ok open=ok read=ok write=skipped remove=skipped", says: "immutability policy"},
		"clock":       {skew: 5 * time.Minute, want: "resolve=ok connect=ok tls=ok auth=ok capabilities=ok open=ok read=ok write=skipped remove=skipped", says: "clock differs by"},
		"clock too far off": {
			skew: 20 * time.Minute, want: "resolve=ok connect=ok tls=ok auth=failed capabilities=skipped open=skipped read=skipped write=skipped remove=skipped",
			says: "this machine's clock",
		},
		"location mended": {
			change: func(cfg *azureblob.Config) { cfg.Location += "/mail" },
			want:   "resolve=ok connect=ok tls=ok auth=ok capabilities=ok open=ok read=ok write=skipped remove=skipped", says: "the container's name at the end was left out",
		},
		"wrong key": {
			change: func(cfg *azureblob.Config) { cfg.Credential = connection.NewSecret("d3Jvbmcga2V5") },
			want:   "resolve=ok connect=ok tls=ok auth=failed capabilities=skipped open=skipped read=skipped write=skipped remove=skipped", says: "Hint: credential: ",
		},
		"no container": {
			change: func(cfg *azureblob.Config) { cfg.Bucket = "none" },
			want:   "resolve=ok connect=ok tls=ok auth=ok capabilities=ok open=failed read=skipped write=skipped remove=skipped", says: `Hint: bucket: there is no container "none"`,
		},
		"nobody there": {
			change: func(cfg *azureblob.Config) { cfg.Location = "http://" + objecttest.DeadAddr(t) },
			want:   "resolve=ok connect=failed tls=skipped auth=skipped capabilities=skipped open=skipped read=skipped write=skipped remove=skipped", says: "Hint: location: ",
		},
		"https to a port of http": {
			change: func(cfg *azureblob.Config) { cfg.Location = strings.Replace(cfg.Location, "http:", "https:", 1) },
			want:   "resolve=ok connect=ok tls=failed auth=skipped capabilities=skipped open=skipped read=skipped write=skipped remove=skipped", says: "Hint: location: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newFake(t, &tc.opts)
			srv.Skew(tc.skew)
			c := openWith(t, srv, tc.change, nil)
			report, err := c.Test(t.Context(), &connection.TestOptions{Write: tc.write})
			var got []string
			for _, step := range report.Steps {
				got = append(got, step.Name+"="+string(step.Status))
			}
			if strings.Join(got, " ") != tc.want || (err != nil) != strings.Contains(tc.want, "failed") {
				t.Errorf("got %s, error %v\nwant %s\n%s", strings.Join(got, " "), err, tc.want, report)
			}
			if text := report.String(); !strings.Contains(text, tc.says) || strings.Contains(text, key[:20]) {
				t.Errorf("the report does not say %q\n%s", tc.says, text)
			}
			if len(srv.Objects()) != 0 && !tc.opts.Policy {
				t.Errorf("something stays behind: %v", srv.Ops())
			}
		})
	}
}

// What Test has found out to be ignored is not offered any more.
func TestIgnoredCondition(t *testing.T) {
	srv := newFake(t, &objecttest.AzureOptions{Unconditional: true})
	c := openWith(t, srv, nil, nil)
	report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
	if err != nil || !strings.Contains(report.String(), "does not obey If-None-Match") {
		t.Errorf("got error %v\n%s", err, report)
	}
	if c.Capabilities().IfAbsent {
		t.Error("put-if-absent is still offered")
	}
	wants(t, "put if absent", putError(t.Context(), c, &connection.PutOptions{IfAbsent: true}), connection.ErrUnsupported)
}

// E41 and the good certificate, by name of the settings that decide.
func TestCertificates(t *testing.T) {
	for _, tc := range []struct {
		cert   objecttest.Certificate
		change func(srv *objecttest.Azure, cfg *azureblob.Config)
		want   connection.Kind
	}{
		{objecttest.CertGood, func(srv *objecttest.Azure, cfg *azureblob.Config) { cfg.CAPEM = srv.CAPEM() }, 0},
		{objecttest.CertGood, func(*objecttest.Azure, *azureblob.Config) {}, connection.ErrTLS},
		{objecttest.CertSelfSigned, func(srv *objecttest.Azure, cfg *azureblob.Config) { cfg.PinSHA256 = []string{srv.Pin()} }, 0},
		{objecttest.CertExpired, func(srv *objecttest.Azure, cfg *azureblob.Config) { cfg.CAPEM = srv.CAPEM() }, connection.ErrTLS},
		{objecttest.CertWrongName, func(srv *objecttest.Azure, cfg *azureblob.Config) { cfg.CAPEM = srv.CAPEM() }, connection.ErrTLS},
	} {
		t.Run(string(tc.cert)+" "+tc.want.Error(), func(t *testing.T) {
			srv := newFake(t, &objecttest.AzureOptions{ServerOptions: objecttest.ServerOptions{TLS: tc.cert}})
			c := openWith(t, srv, func(cfg *azureblob.Config) { cfg.MaxAttempts = 5; tc.change(srv, cfg) }, nil)
			err := putError(t.Context(), c, nil)
			if tc.want == 0 {
				if err != nil {
					t.Fatal(err)
				}
				holds(t, c, "key", "text")
				return
			}
			wants(t, "put", err, tc.want)
			if n := srv.Connections(); n != 1 {
				t.Errorf("%d connections, want 1: it must not be tried again", n)
			}
		})
	}
}
