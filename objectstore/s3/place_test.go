package s3

import (
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

func configFor(location, region, bucket string) Config {
	return Config{
		Settings: objectstore.Settings{Location: location, Bucket: bucket, Identity: "AKIDEXAMPLE", Credential: connection.NewSecret("a secret of somebody")},
		Region:   region,
	}
}

// TestPlace is the spec's location parser, rule by rule (E38, E39).
func TestPlace(t *testing.T) {
	for _, tt := range []struct {
		location, region, bucket string
		style                    string
		url, signs               string
	}{
		{"", "", "archive", "", "https://archive.s3.us-east-1.amazonaws.com", "us-east-1"},
		{"", "eu-west-1", "archive", "", "https://archive.s3.eu-west-1.amazonaws.com", "eu-west-1"},
		{"eu-central-1", "", "archive", "", "https://archive.s3.eu-central-1.amazonaws.com", "eu-central-1"},
		{"eu-central-1", "eu-central-1", "archive", "", "https://archive.s3.eu-central-1.amazonaws.com", "eu-central-1"},
		{"cn-north-1", "", "archive", "", "https://archive.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"us-gov-west-1", "", "archive", "", "https://archive.s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
		{"", "", "my.archive", "", "https://s3.us-east-1.amazonaws.com/my.archive", "us-east-1"},
		{"", "", "archive", PathStyleOn, "https://s3.us-east-1.amazonaws.com/archive", "us-east-1"},
		{"https://ams3.digitaloceanspaces.com", "", "archiva", "", "https://ams3.digitaloceanspaces.com/archiva", "ams3"},
		{"ams3.digitaloceanspaces.com/", "", "archiva", "", "https://ams3.digitaloceanspaces.com/archiva", "ams3"},
		{"https://archiva.ams3.digitaloceanspaces.com", "", "archiva", "", "https://ams3.digitaloceanspaces.com/archiva", "ams3"},
		{"https://ams3.digitaloceanspaces.com/archiva", "", "archiva", "", "https://ams3.digitaloceanspaces.com/archiva", "ams3"},
		{"https://ams3.digitaloceanspaces.com", "", "archiva", PathStyleOff, "https://archiva.ams3.digitaloceanspaces.com", "ams3"},
		{"s3.amazonaws.com:443", "", "archive", "", "https://archive.s3.amazonaws.com:443", "us-east-1"},
		{"s3.us-west-2.amazonaws.com", "", "archive", "", "https://archive.s3.us-west-2.amazonaws.com", "us-west-2"},
		{"archive.s3.us-west-2.amazonaws.com", "", "archive", "", "https://archive.s3.us-west-2.amazonaws.com", "us-west-2"},
		{"s3-us-west-2.amazonaws.com", "", "archive", "", "https://archive.s3-us-west-2.amazonaws.com", "us-west-2"},
		{"s3.dualstack.us-west-2.amazonaws.com", "", "archive", "", "https://archive.s3.dualstack.us-west-2.amazonaws.com", "us-west-2"},
		{"s3.cn-north-1.amazonaws.com.cn", "", "archive", "", "https://archive.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"s3.us-west-004.backblazeb2.com", "", "archive", "", "https://s3.us-west-004.backblazeb2.com/archive", "us-west-004"},
		{"https://0123.r2.cloudflarestorage.com", "", "archive", "", "https://0123.r2.cloudflarestorage.com/archive", "auto"},
		{"http://127.0.0.1:9000", "", "archive", "", "http://127.0.0.1:9000/archive", "us-east-1"},
		{" http://127.0.0.1:9000/ ", "garage", "archive", "", "http://127.0.0.1:9000/archive", "garage"},
		{"HTTP://Minio.Example.org", "", "archive", "", "http://minio.example.org/archive", "us-east-1"},
		{"localhost", "", "archive", "", "https://localhost/archive", "us-east-1"},
		{"minio:9000", "", "archive", "", "https://minio:9000/archive", "us-east-1"},
		{"http://[::1]:9000", "", "archive", "", "http://[::1]:9000/archive", "us-east-1"},
		{"https://minio.example.org/?x=y#z", "", "archive", "", "https://minio.example.org/archive", "us-east-1"},
	} {
		t.Run(tt.location+" "+tt.region+" "+tt.bucket+" "+tt.style, func(t *testing.T) {
			c := configFor(tt.location, tt.region, tt.bucket)
			c.PathStyle = tt.style
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			p, err := c.place()
			if err != nil {
				t.Fatal(err)
			}
			if u := p.url(); u.String() != tt.url || p.region != tt.signs {
				t.Errorf("got %s signed for %s, want %s for %s", u.String(), p.region, tt.url, tt.signs)
			}
		})
	}
}

func TestPlaceOfAnotherRegion(t *testing.T) {
	for from, want := range map[string]string{
		"":                                     "https://archive.s3.eu-south-1.amazonaws.com",
		"https://s3.us-west-2.amazonaws.com:8": "https://archive.s3.eu-south-1.amazonaws.com:8",
		"http://minio.example.org:9000":        "http://minio.example.org:9000/archive",
	} {
		p, err := configFor(from, "", "archive").place()
		if err != nil {
			t.Fatal(err)
		}
		other := p.in("eu-south-1")
		if u := other.url(); u.String() != want || other.region != "eu-south-1" {
			t.Errorf("%q: got %s signed for %s, want %s", from, u.String(), other.region, want)
		}
	}
}

func TestCorrectedPlacesSaySo(t *testing.T) {
	p, err := configFor("https://archiva.ams3.digitaloceanspaces.com", "", "archiva").place()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.notes, "\n"); !strings.Contains(got, "ams3.digitaloceanspaces.com") {
		t.Errorf("got notes %q", got)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		want   string // beginning of the error
	}{
		{"no identity", func(c *Config) { c.Settings.Identity = "" }, "identity: missing"},
		{"identity of two lines", func(c *Config) { c.Settings.Identity = "a\r\nb" }, "identity: "},
		{"no credential", func(c *Config) { c.Credential = connection.Secret{} }, "credential: missing"},
		{"credential with a line end", func(c *Config) { c.Credential = connection.NewSecret("secret\n") }, "credential: "},
		{"session token with a line end", func(c *Config) { c.SessionToken = connection.NewSecret("secret\n") }, "session_token: "},
		{"no bucket", func(c *Config) { c.Bucket = "" }, "bucket: missing"},
		{"bucket of two letters", func(c *Config) { c.Bucket = "ab" }, `bucket: "ab" is no bucket name of s3: it has 3 to 63`},
		{"bucket in capitals", func(c *Config) { c.Bucket = "Archive" }, `bucket: "Archive" is no bucket name of s3: it has lower-case`},
		{"bucket with a slash", func(c *Config) { c.Bucket = "archive/mail" }, `bucket: "archive/mail" is no`},
		{"bucket with two dots", func(c *Config) { c.Bucket = "a..b" }, `bucket: "a..b" is no`},
		{"bucket like an address", func(c *Config) { c.Bucket = "10.0.0.1" }, `bucket: "10.0.0.1" is no`},
		{"other scheme", func(c *Config) { c.Location = "ftp://host.example" }, `location: scheme "ftp" is not http or https`},
		{"user in the URL", func(c *Config) { c.Location = "https://user:sesame@host.example" }, "location: holds a user name or password"},
		{"user without scheme", func(c *Config) { c.Location = "user:sesame@host.example" }, "location: holds a user name or password"},
		{"another path", func(c *Config) { c.Location = "https://host.example/other" }, `location: the path "/other" is not the bucket`},
		{"a word", func(c *Config) { c.Location = "minio" }, `location: "minio" is neither a region nor a host`},
		{"no host", func(c *Config) { c.Location = "https://" }, "location: want a region, a host or a URL"},
		{"a space", func(c *Config) { c.Location = "https://my host.example" }, "location: want a region, a host or a URL"},
		{"port out of range", func(c *Config) { c.Location = "host.example:65536" }, "location: port"},
		{"port 0", func(c *Config) { c.Location = "host.example:0" }, "location: port"},
		{"no port", func(c *Config) { c.Location = "host.example:" }, "location: the port is missing"},
		{"bad region", func(c *Config) { c.Region = "eu west" }, "region: "},
		{"two regions", func(c *Config) { c.Location, c.Region = "eu-west-1", "eu-west-2" }, `region: "eu-west-2": location says "eu-west-1"`},
		{"path style", func(c *Config) { c.PathStyle = "yes" }, `path_style: "yes": want auto or on or off`},
		{"unsigned payload", func(c *Config) { c.UnsignedPayload = "never" }, "unsigned_payload: "},
		{"retention mode", func(c *Config) { c.RetentionMode = "GOVERNANCE" }, "retention_mode: "},
		{"restore tier", func(c *Config) { c.RestoreTier = "fast" }, "restore_tier: "},
		{"encryption", func(c *Config) { c.Encryption = "aes" }, "encryption: "},
		{"key without encryption", func(c *Config) { c.KMSKey = "k" }, "kms_key: is of use only"},
		{"key with a line end", func(c *Config) { c.Encryption, c.KMSKey = EncryptionKMS, "k\nX: y" }, "kms_key: "},
		{"class with a line end", func(c *Config) { c.StorageClass = "GLACIER\nX: y" }, "storage_class: "},
		{"connect timeout", func(c *Config) { c.ConnectTimeout = -1 }, "connect_timeout: "},
		{"small parts", func(c *Config) { c.PartSize = 1 << 20 }, "part_size: "},
		{"large single puts", func(c *Config) { c.SinglePutLimit = 6 << 30 }, "single_put_limit: "},
		{"workers", func(c *Config) { c.Workers = -1 }, "workers: "},
		{"no certificate", func(c *Config) { c.CAPEM = "none" }, "ca_pem: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := configFor("", "", "archive")
			if err := c.Validate(); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(&c)
			err := c.Validate()
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if strings.Contains(err.Error(), "sesame") {
				t.Errorf("the error repeats a password: %v", err)
			}
			if _, err := Open(c, nil); connection.KindOf(err) != connection.ErrConfig || !strings.Contains(err.Error(), "config: "+tt.want) {
				t.Errorf("Open: got %v", err)
			}
		})
	}
}
