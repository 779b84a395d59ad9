package swift

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// Names of the driver of [RackspaceConfig] in connection.Settings. The first lets location decide between the services of
// the United States and of the United Kingdom.
const (
	RackspaceName = "rackspace-cloudfiles"
	RackspaceUS   = "rackspace-cloudfiles-us"
	RackspaceUK   = "rackspace-cloudfiles-uk"
)

const (
	rackspaceIdentityUS = "https://identity.api.rackspacecloud.com/v2.0"
	rackspaceIdentityUK = "https://lon.identity.api.rackspacecloud.com/v2.0"
	rackspaceLondon     = "LON"
)

// RackspaceConfig are the settings of a container of Rackspace Cloud Files. Identity is the user name and Credential the
// API key. Location is the region, such as DFW, ORD or LON, or empty for the user's own; it may also be the URL of another
// identity service that speaks version 2.0, and Region then names the region. Bucket is an existing container.
type RackspaceConfig struct {
	connection.Identity
	objectstore.Settings
	objectstore.Tuning
	connection.TLSSettings
	ConnectTimeout     connection.Duration `json:"connect_timeout,omitempty" label:"Connect timeout" default:"30s" help:"for dialling, and again for TLS; 0 = none"`
	Region             string              `json:"region,omitempty" label:"Region" help:"only with a URL as location: which region of its catalogue; empty: the user's own, or the first"`
	SegmentContainer   string              `json:"segment_container,omitempty" label:"Segment container" help:"holds the parts of large objects, is made when it is needed, and must be used for nothing else; default <bucket>_segments"`
	TempURLKey         connection.Secret   `json:"temp_url_key,omitzero" label:"Temporary URL key" help:"signs presigned URLs; empty: the key of the container or the account"`
	AllowPlaintextAuth bool                `json:"allow_plaintext_auth,omitempty" label:"Allow credential in the clear" help:"permits http:// to other machines: anybody on the path can then read the credential"`
}

// Validate implements connection.Config.
func (c RackspaceConfig) Validate() error {
	if err := c.shared().validate(); err != nil {
		return err
	}
	_, err := c.place("")
	return err
}

func (c RackspaceConfig) shared() shared {
	return shared{&c.Settings, &c.Tuning, &c.TLSSettings, c.ConnectTimeout, c.SegmentContainer, c.TempURLKey}
}

// place reads the settings as those of the driver with the name given.
func (c RackspaceConfig) place(name string) (*place, error) {
	p := &place{
		driver: RackspaceName, user: c.Settings.Identity, credential: c.Credential, forms: []form{formAPIKey}, region: strings.TrimSpace(c.Location),
		regionField: "location", allowPlaintext: c.AllowPlaintextAuth, container: c.Bucket, segments: c.shared().segmentContainer(),
	}
	service := rackspaceIdentityUS
	switch {
	case strings.Contains(c.Location, "://"):
		service, p.region, p.regionField = c.Location, c.Region, "region"
	case c.Region != "":
		return nil, errors.New("region: location names the region already; region is for a URL as location")
	case hasControl(p.region), strings.ContainsAny(p.region, "/:. "):
		return nil, fmt.Errorf("location: %q is no region, such as DFW, ORD or LON", c.Location)
	case name == RackspaceUK, name != RackspaceUS && strings.EqualFold(p.region, rackspaceLondon):
		service = rackspaceIdentityUK
	}
	if err := p.locate(service); err != nil {
		return nil, err
	}
	if p.version != 2 {
		return nil, errors.New("location: no identity version …/v2.0 in the URL: it is the only one that takes API keys")
	}
	return p, nil
}

// Rackspace returns the driver of [RackspaceConfig], for a connection.Registry.
func Rackspace() connection.Driver { return rackspaceIn(RackspaceName) }

// rackspaceIn returns the driver that asks the identity service which the alias stands for.
func rackspaceIn(alias string) connection.Driver {
	return connection.NewDriver(RackspaceName, func(c RackspaceConfig, env *connection.Env) (*Conn, error) {
		return openRackspace(alias, c, env)
	})
}

// OpenRackspace returns the container that cfg describes. It does no I/O: the first verb logs in. env may be nil.
func OpenRackspace(cfg RackspaceConfig, env *connection.Env) (*Conn, error) {
	return openRackspace(RackspaceName, cfg, env)
}

func openRackspace(alias string, cfg RackspaceConfig, env *connection.Env) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, configError(RackspaceName, err)
	}
	p, err := cfg.place(alias)
	if err != nil {
		return nil, configError(RackspaceName, err)
	}
	return open(p, cfg.Identity, cfg.shared(), env)
}
