package swift_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/swift"
)

// good are settings that lack nothing.
func good(change map[string]any) map[string]any {
	all := map[string]any{"identity": "mail:archiver", "credential": "secret", "location": "https://keystone.example.org:5000/v3", "bucket": "archive"}
	for name, value := range change {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	return all
}

func openRaw(t *testing.T, driver string, config map[string]any) (connection.Connection, error) {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return connection.NewRegistry(swift.Drivers()...).Open(connection.Settings{ID: "7", Name: "Archive", Driver: driver, Config: raw}, nil)
}

func TestSettings(t *testing.T) {
	long := strings.Repeat("x", 257)
	for name, test := range map[string]struct {
		driver string // "" = swift
		change map[string]any
		want   string // in the error; "" = none
	}{
		"good":                   {},
		"v1":                     {change: map[string]any{"location": "https://swift.example.org/auth/v1.0"}},
		"v2":                     {change: map[string]any{"location": "https://keystone.example.org/v2.0/", "region": "DFW"}},
		"no scheme":              {change: map[string]any{"location": "keystone.example.org/v3"}},
		"tokens at the end":      {change: map[string]any{"location": "https://keystone.example.org/identity/v3/auth/tokens"}},
		"auth tells the version": {change: map[string]any{"location": "https://ceph.example.org/auth/1.0", "auth": "v1"}},
		"http on this machine":   {change: map[string]any{"location": "http://127.0.0.1:8080/auth/v1.0"}},
		"http on localhost":      {change: map[string]any{"location": "http://localhost:8080/auth/v1.0"}},
		"http, allowed":          {change: map[string]any{"location": "http://swift.example.org/auth/v1.0", "allow_plaintext_auth": true}},
		"other name":             {driver: "openstack-swift"},
		"domain":                 {change: map[string]any{"domain": "Mail", "project": "p", "project_domain_id": "d1"}},

		"no identity":          {change: map[string]any{"identity": nil}, want: "config: identity: missing"},
		"no credential":        {change: map[string]any{"credential": nil}, want: "config: credential: missing"},
		"no location":          {change: map[string]any{"location": nil}, want: "config: location: missing"},
		"no bucket":            {change: map[string]any{"bucket": nil}, want: "config: bucket: missing"},
		"no version":           {change: map[string]any{"location": "https://keystone.example.org"}, want: "config: location: no identity version (…/v1.0, …/v2.0 or …/v3) in the URL"},
		"version in the host":  {change: map[string]any{"location": "https://v3.example.org/identity"}, want: "config: location: no identity version"},
		"other scheme":         {change: map[string]any{"location": "ftp://keystone.example.org/v3"}, want: `config: location: scheme "ftp" is not http or https`},
		"password in location": {change: map[string]any{"location": "https://user:hunter2@keystone.example.org/v3"}, want: "config: location: holds a user name or password"},
		"query":                {change: map[string]any{"location": "https://keystone.example.org/v3?a=b"}, want: "config: location: holds a query"},
		"no host":              {change: map[string]any{"location": "https:///v3"}, want: "config: location: "},
		"http":                 {change: map[string]any{"location": "http://swift.example.org/auth/v1.0"}, want: "config: location: http would send the credential in the clear"},
		"slash in bucket":      {change: map[string]any{"bucket": "a/b"}, want: `config: bucket: "a/b" is no container name of swift: it has no slash`},
		"dots":                 {change: map[string]any{"bucket": ".."}, want: "config: bucket: "},
		"long bucket":          {change: map[string]any{"bucket": long}, want: "at most 256 octets"},
		"long segments":        {change: map[string]any{"bucket": long[:250]}, want: "config: segment_container: "},
		"segments in bucket":   {change: map[string]any{"segment_container": "archive"}, want: "config: segment_container: must not be the bucket"},
		"line end in key":      {change: map[string]any{"credential": "secret\n"}, want: "config: credential: holds control characters"},
		"line end in user":     {change: map[string]any{"identity": "a\r\nb"}, want: "config: identity: holds control characters"},
		"line end in project":  {change: map[string]any{"project": "a\r\nb"}, want: "config: project: holds control characters"},
		"both domains":         {change: map[string]any{"domain": "Default", "domain_id": "default"}, want: "config: domain_id: domain is set too"},
		"both of the project":  {change: map[string]any{"project_domain": "a", "project_domain_id": "b"}, want: "config: project_domain_id: project_domain is set too"},
		"domain in v2":         {change: map[string]any{"location": "https://k.example.org/v2.0", "domain": "d"}, want: "config: domain: "},
		"region in v1":         {change: map[string]any{"location": "https://k.example.org/v1.0", "region": "d"}, want: "config: location: version 1"},
		"unknown auth":         {change: map[string]any{"auth": "kerberos"}, want: "config: auth: "},
		"auth of another":      {change: map[string]any{"auth": "v2-apikey"}, want: "config: auth: v2-apikey does not fit location, which is of version 3"},
		"huge parts":           {change: map[string]any{"part_size": 6 << 30}, want: "config: part_size: "},
		"huge puts":            {change: map[string]any{"single_put_limit": 6 << 30}, want: "config: single_put_limit: "},
		"negative timeout":     {change: map[string]any{"no_data_timeout": "-1s"}, want: "config: no_data_timeout: negative"},
		"unknown field":        {change: map[string]any{"segments_container": "x"}, want: `segment_container`},

		"rackspace":           {driver: "rackspace-cloudfiles", change: map[string]any{"identity": "user", "location": "DFW"}},
		"rackspace, anywhere": {driver: "rackspace-cloudfiles-us", change: map[string]any{"identity": "user", "location": nil}},
		"rackspace, London":   {driver: "rackspace-cloudfiles-uk", change: map[string]any{"identity": "user", "location": "LON"}},
		"rackspace, URL":      {driver: "rackspace-cloudfiles", change: map[string]any{"location": "https://identity.example.org/v2.0", "region": "DFW"}},
		"rackspace, host":     {driver: "rackspace-cloudfiles", change: map[string]any{"location": "identity.example.org"}, want: "is no region"},
		"rackspace, v3":       {driver: "rackspace-cloudfiles", change: map[string]any{"location": "https://identity.example.org/v3"}, want: "config: location: no identity version …/v2.0"},
		"rackspace, twice":    {driver: "rackspace-cloudfiles", change: map[string]any{"location": "DFW", "region": "ORD"}, want: "config: region: location names the region already"},
		"rackspace, domain":   {driver: "rackspace-cloudfiles", change: map[string]any{"location": "DFW", "domain": "d"}, want: "domain"},
		"rackspace, http":     {driver: "rackspace-cloudfiles", change: map[string]any{"location": "http://identity.example.org/v2.0"}, want: "in the clear"},
	} {
		t.Run(name, func(t *testing.T) {
			driver := test.driver
			if driver == "" {
				driver = "swift"
			}
			c, err := openRaw(t, driver, good(test.change))
			switch {
			case test.want == "" && err != nil:
				t.Fatalf("got error %v", err)
			case test.want == "":
				canonical := "swift"
				if strings.HasPrefix(driver, "rackspace") {
					canonical = "rackspace-cloudfiles"
				}
				if i := c.Info(); i.Driver != canonical || i.ID != "7" || i.Name != "Archive" || !strings.HasSuffix(i.Endpoint, "/archive") {
					t.Errorf("got info %+v", i)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("got error %v, want %q in it", err, test.want)
			case connection.KindOf(err) != connection.ErrConfig || strings.Contains(err.Error(), "hunter2"):
				t.Errorf("got error %v of kind %v", err, connection.KindOf(err))
			}
		})
	}
}

// The identity services of Rackspace are chosen by the name of the driver and by the region.
func TestRackspaceIdentityServices(t *testing.T) {
	for _, test := range []struct{ driver, location, want string }{
		{"rackspace-cloudfiles", "DFW", "identity.api.rackspacecloud.com/archive"},
		{"rackspace-cloudfiles", "", "identity.api.rackspacecloud.com/archive"},
		{"rackspace-cloudfiles", "LON", "lon.identity.api.rackspacecloud.com/archive"},
		{"rackspace-cloudfiles", "lon", "lon.identity.api.rackspacecloud.com/archive"},
		{"rackspace-cloudfiles-uk", "", "lon.identity.api.rackspacecloud.com/archive"},
		{"rackspace-cloudfiles-us", "ORD", "identity.api.rackspacecloud.com/archive"},
	} {
		c, err := openRaw(t, test.driver, good(map[string]any{"location": test.location}))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Info().Endpoint; got != test.want {
			t.Errorf("%s in %q: got %s, want %s", test.driver, test.location, got, test.want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
