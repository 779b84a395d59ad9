package swift

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// DriverName is the name of the driver of [Config] in connection.Settings; Alias is its other one.
const (
	DriverName = "swift"
	Alias      = "openstack-swift"
)

// Values of Config.Auth.
const (
	AuthAuto                    = "auto"                      // by the version in Config.Location and the form of Config.Identity
	AuthV1                      = "v1"                        // X-Auth-User and X-Auth-Key: TempAuth, Ceph
	AuthV2Password              = "v2-password"               // Keystone v2.0, user name and password
	AuthV2APIKey                = "v2-apikey"                 // Keystone v2.0 with the extension RAX-KSKEY, user name and API key
	AuthV3Password              = "v3-password"               // Keystone v3, user name and password
	AuthV3ApplicationCredential = "v3-application-credential" // Keystone v3, id and secret of an application credential
)

// Config are the settings of a Swift container. Location is the URL of the identity service, which holds the version of
// its protocol: https://swift.example.org/auth/v1.0, https://keystone.example.org:5000/v2.0 or …/v3. Identity is the user,
// or project:user (version 1: account:user), or the id of an application credential; Credential its password, key or
// secret. Bucket is an existing container.
type Config struct {
	connection.Identity
	objectstore.Settings
	objectstore.Tuning
	connection.TLSSettings
	ConnectTimeout     connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" default:"30s" help:"for dialling, and again for TLS; 0 = none"`
	Auth               string              `json:"auth,omitempty" label:"Authentication" default:"auto" enum:"auto,v1,v2-password,v2-apikey,v3-password,v3-application-credential" help:"auto: by the version in location; an identity of 32 hexadecimal digits is then an application credential"`
	Domain             string              `json:"domain,omitempty" label:"Domain" help:"name of the user's domain, such as Default (v3)" when:"auth=auto,v3-password"`
	DomainID           string              `json:"domain_id,omitempty" label:"Domain id" help:"id of the user's domain, if domain does not name it; default \"default\" (v3)" when:"auth=auto,v3-password"`
	Project            string              `json:"project,omitempty" label:"Project" help:"name of the project (tenant), if identity does not begin with it (v2, v3)" when:"auth=auto,v2-password,v2-apikey,v3-password"`
	ProjectDomain      string              `json:"project_domain,omitempty" label:"Project domain" help:"name of the project's domain, if it is not the user's (v3)" when:"auth=auto,v3-password"`
	ProjectDomainID    string              `json:"project_domain_id,omitempty" label:"Project domain id" help:"id of the project's domain, if it is not the user's (v3)" when:"auth=auto,v3-password"`
	Region             string              `json:"region,omitempty" label:"Region" help:"which region of the identity service's catalogue; empty: its first (v2, v3)" when:"auth=auto,v2-password,v2-apikey,v3-password,v3-application-credential"`
	SegmentContainer   string              `json:"segment_container,omitempty" label:"Segment container" help:"holds the parts of large objects, is made when it is needed, and must be used for nothing else; default <bucket>_segments"`
	TempURLKey         connection.Secret   `json:"temp_url_key,omitzero" label:"Temporary URL key" help:"signs presigned URLs; empty: the key of the container or the account, which its owner may read"`
	AllowPlaintextAuth bool                `json:"allow_plaintext_auth,omitempty" label:"Allow credential in the clear" help:"permits http:// to other machines: anybody on the path can then read the credential"`
}

// Validate implements connection.Config.
func (c Config) Validate() error {
	switch c.Auth {
	case "", AuthAuto, AuthV1, AuthV2Password, AuthV2APIKey, AuthV3Password, AuthV3ApplicationCredential:
	default:
		return fmt.Errorf("auth: %q: want %s, %s, %s, %s, %s or %s", c.Auth, AuthAuto, AuthV1, AuthV2Password, AuthV2APIKey, AuthV3Password, AuthV3ApplicationCredential)
	}
	switch {
	case c.Location == "":
		return errors.New("location: missing: want the URL of the identity service, such as https://keystone.example.org:5000/v3")
	case c.Domain != "" && c.DomainID != "":
		return errors.New("domain_id: domain is set too; leave one of them empty")
	case c.ProjectDomain != "" && c.ProjectDomainID != "":
		return errors.New("project_domain_id: project_domain is set too; leave one of them empty")
	}
	for field, value := range map[string]string{
		"domain": c.Domain, "domain_id": c.DomainID, "project": c.Project,
		"project_domain": c.ProjectDomain, "project_domain_id": c.ProjectDomainID, "region": c.Region,
	} {
		if hasControl(value) {
			return fmt.Errorf("%s: holds control characters", field)
		}
	}
	if err := c.shared().validate(); err != nil {
		return err
	}
	p, err := c.place()
	if err != nil {
		return err
	}
	switch {
	case p.version == 1 && (c.Domain != "" || c.DomainID != "" || c.Project != "" || c.Region != ""):
		return errors.New("location: version 1 of the identity protocol has no domains, projects and regions: leave them empty, or give a URL with /v3")
	case p.version == 2 && (c.Domain != "" || c.DomainID != ""):
		return errors.New("domain: version 2.0 of the identity protocol has no domains: leave it empty, or give a URL with /v3")
	}
	return nil
}

func (c Config) shared() shared {
	return shared{&c.Settings, &c.Tuning, &c.TLSSettings, c.ConnectTimeout, c.SegmentContainer, c.TempURLKey}
}

// shared are the settings that the drivers of this package have in common.
type shared struct {
	*objectstore.Settings
	*objectstore.Tuning
	tls        *connection.TLSSettings
	connect    connection.Duration
	segments   string
	tempURLKey connection.Secret
}

func (s shared) validate() error {
	switch {
	case s.Identity == "":
		return errors.New("identity: missing")
	case hasControl(s.Identity):
		return errors.New("identity: holds control characters")
	case s.Credential.IsZero():
		return errors.New("credential: missing")
	case hasControl(s.Credential.Reveal()):
		return errors.New("credential: holds control characters: a line end was copied with it")
	case s.Bucket == "":
		return errors.New("bucket: missing")
	case s.connect < 0:
		return errors.New("connect_timeout: negative; 0 means none")
	case s.segments != "" && s.segments == s.Bucket:
		return errors.New("segment_container: must not be the bucket: the parts of large objects would be objects of it")
	}
	if rule := containerRule(s.Bucket); rule != "" {
		return fmt.Errorf("bucket: %q is no container name of swift: %s", s.Bucket, rule)
	}
	if rule := containerRule(s.segmentContainer()); rule != "" {
		return fmt.Errorf("segment_container: %q is no container name of swift: %s", s.segmentContainer(), rule)
	}
	if err := s.Tuning.Validate(); err != nil {
		return err
	}
	if err := s.CheckParts(partLimits); err != nil {
		return err
	}
	return s.tls.Validate()
}

func (s shared) segmentContainer() string {
	if s.segments != "" {
		return s.segments
	}
	return s.Bucket + "_segments"
}

// maxContainer is the length of a container's name (max_container_name_length).
const maxContainer = 256

func containerRule(name string) string {
	switch {
	case len(name) > maxContainer:
		return fmt.Sprintf("it has at most %d octets", maxContainer)
	case strings.Contains(name, "/"):
		return "it has no slash"
	case name == ".", name == "..":
		return "servers on the way resolve it"
	case !utf8.ValidString(name), hasControl(name):
		return "it is UTF-8 text without control characters"
	}
	return ""
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// A place is what the settings come down to: where to log in, as whom, and where to look for the container then.
type place struct {
	driver          string
	identity        *url.URL // of the identity service, without a slash at the end
	version         int      // of its protocol: 1, 2 or 3
	forms           []form   // of the credential, in the order in which they are tried
	user            string   // or the id of an application credential
	credential      connection.Secret
	project         string // "" = the user's own
	domain          string
	domainID        string // if domain is ""
	projectDomain   string // both "" = the user's
	projectDomainID string
	region          string // "" = the user's own, or the catalogue's first
	regionField     string // the setting that names it
	allowPlaintext  bool
	container       string
	segments        string   // the container of the parts of large objects
	notes           []string // what was guessed and stripped, for Test
}

// A form is how a credential is sent.
type form uint8

const (
	formHeaders  form = iota // version 1
	formPassword             // passwordCredentials, password
	formAPIKey               // RAX-KSKEY:apiKeyCredentials
	formApplication
)

var (
	versionSegment = regexp.MustCompile(`^v([123])(\.[0-9]+)?$`)
	applicationID  = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// longKey is the length from which on a credential of version 2.0 is rather an API key than a password.
const longKey = 32

func (c Config) place() (*place, error) {
	p := &place{
		driver: DriverName, user: c.Settings.Identity, credential: c.Credential, project: c.Project, domain: c.Domain, domainID: c.DomainID,
		projectDomain: c.ProjectDomain, projectDomainID: c.ProjectDomainID, region: c.Region, regionField: "region",
		allowPlaintext: c.AllowPlaintextAuth, container: c.Bucket, segments: c.shared().segmentContainer(),
	}
	if err := p.locate(c.Location); err != nil {
		return nil, err
	}
	if err := p.choose(c.Auth); err != nil {
		return nil, err
	}
	if p.domain == "" && p.domainID == "" {
		p.domainID = "default"
	}
	if p.version > 1 && p.project == "" && !slices.Contains(p.forms, formApplication) {
		if project, user, ok := strings.Cut(p.user, ":"); ok {
			p.project, p.user = project, user
		}
	}
	return p, nil
}

// locate reads the URL of the identity service.
func (p *place) locate(location string) error {
	location = strings.TrimSpace(location)
	if !strings.Contains(location, "://") {
		location = "https://" + location
		p.notes = append(p.notes, "location names no scheme: https")
	}
	u, err := url.Parse(location)
	switch {
	case err != nil:
		return errors.New("location: is no URL") // its text may hold a password
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("location: scheme %q is not http or https", u.Scheme)
	case u.User != nil:
		return errors.New("location: holds a user name or password")
	case u.Hostname() == "", hasControl(u.Host), hasControl(u.Path):
		return fmt.Errorf("location: %q names no host", location)
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("location: holds a query: want the URL of the identity service alone")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	for _, tail := range []string{"/auth/tokens", "/tokens"} {
		if cut, ok := strings.CutSuffix(u.Path, tail); ok {
			u.Path = cut
			p.notes = append(p.notes, tail+" was taken from the end of location")
			break
		}
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if m := versionSegment.FindStringSubmatch(segment); m != nil {
			p.version = int(m[1][0] - '0')
		}
	}
	p.identity = u
	return p.checkPlaintext(u, "location")
}

// checkPlaintext refuses to send the credential, or the token that it gave, through a network in the clear.
func (p *place) checkPlaintext(u *url.URL, field string) error {
	if u.Scheme == "https" || p.allowPlaintext || isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s: http would send the credential in the clear: write https://, or set allow_plaintext_auth", field)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// choose decides how to log in.
func (p *place) choose(auth string) error {
	version := map[string]int{AuthV1: 1, AuthV2Password: 2, AuthV2APIKey: 2, AuthV3Password: 3, AuthV3ApplicationCredential: 3}[auth]
	switch {
	case p.version == 0 && version == 0:
		return errors.New("location: no identity version (…/v1.0, …/v2.0 or …/v3) in the URL")
	case version != 0 && p.version != 0 && version != p.version:
		return fmt.Errorf("auth: %s does not fit location, which is of version %d", auth, p.version)
	case version != 0:
		p.version = version
	}
	switch {
	case p.version == 1:
		p.forms = []form{formHeaders}
	case auth == AuthV2APIKey:
		p.forms = []form{formAPIKey}
	case auth == AuthV2Password, auth == AuthV3Password:
		p.forms = []form{formPassword}
	case auth == AuthV3ApplicationCredential, p.version == 3 && p.project == "" && applicationID.MatchString(p.user):
		p.forms = []form{formApplication}
	case p.version == 3:
		p.forms = []form{formPassword}
	case len(p.credential.Reveal()) >= longKey:
		p.forms = []form{formAPIKey, formPassword}
	default:
		p.forms = []form{formPassword, formAPIKey}
	}
	return nil
}

// Driver returns the driver of [Config], for a connection.Registry.
func Driver() connection.Driver { return connection.NewDriver(DriverName, Open) }

// Drivers returns all drivers of this package, under all names that Settings may use.
func Drivers() []connection.Driver {
	all := []connection.Driver{Driver(), Driver().Alias(Alias), Rackspace()}
	for _, name := range []string{RackspaceUS, RackspaceUK} {
		all = append(all, rackspaceIn(name).Alias(name))
	}
	return all
}

func configError(driver string, err error) error {
	return &connection.Error{Op: "open", Driver: driver, Kind: connection.ErrConfig, Err: fmt.Errorf("config: %w", err)}
}
