package swift

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/ncw/swift/v2"

	"github.com/mailconn/mailconn/connection"
)

// errAsked ends the library's loop, which asks again after every refusal.
var errAsked = errors.New("every form of the credential was tried")

// An asker is one login. It plugs into the library, whose own would send a refused credential a second time and pick an
// API key's form by its length alone.
type asker struct {
	place *place
	forms []form // still to be tried
	asked form

	token    string
	storage  string
	regions  []string // of the catalogue's object stores
	userHome string   // the user's own region
	project  string   // as the service calls it
}

var _ swift.Authenticator = (*asker)(nil)

// Request implements swift.Authenticator.
func (a *asker) Request(ctx context.Context, _ *swift.Connection) (*http.Request, error) {
	if len(a.forms) == 0 {
		return nil, errAsked
	}
	a.asked, a.forms = a.forms[0], a.forms[1:]
	switch a.place.version {
	case 1:
		return a.requestV1(ctx)
	case 2:
		return a.post(ctx, "/tokens", a.bodyV2())
	default:
		return a.post(ctx, "/auth/tokens", a.bodyV3())
	}
}

func (a *asker) requestV1(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.place.identity.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-User", a.place.user)
	req.Header.Set("X-Auth-Key", a.place.credential.Reveal())
	return req, nil
}

func (a *asker) post(ctx context.Context, path string, body any) (*http.Request, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.place.identity.String()+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// object is a JSON object to be sent.
type object map[string]any

func (a *asker) bodyV2() object {
	p := a.place
	auth := object{"passwordCredentials": object{"username": p.user, "password": p.credential.Reveal()}}
	if a.asked == formAPIKey {
		auth = object{"RAX-KSKEY:apiKeyCredentials": object{"username": p.user, "apiKey": p.credential.Reveal()}}
	}
	if p.project != "" {
		auth["tenantName"] = p.project
	}
	return object{"auth": auth}
}

func (a *asker) bodyV3() object {
	p := a.place
	if a.asked == formApplication {
		// It belongs to one project, so no scope is to be named.
		return object{"auth": object{"identity": object{
			"methods":                []string{"application_credential"},
			"application_credential": object{"id": p.user, "secret": p.credential.Reveal()},
		}}}
	}
	user := object{"name": p.user, "password": p.credential.Reveal(), "domain": domainOf(p.domain, p.domainID)}
	auth := object{"identity": object{"methods": []string{"password"}, "password": object{"user": user}}}
	if p.project != "" {
		domain := domainOf(p.projectDomain, p.projectDomainID)
		if p.projectDomain == "" && p.projectDomainID == "" {
			domain = domainOf(p.domain, p.domainID)
		}
		auth["scope"] = object{"project": object{"name": p.project, "domain": domain}}
	}
	return object{"auth": auth}
}

func domainOf(name, id string) object {
	if name != "" {
		return object{"name": name}
	}
	return object{"id": id}
}

// Response implements swift.Authenticator.
func (a *asker) Response(_ context.Context, resp *http.Response) error {
	switch a.place.version {
	case 1:
		a.token, a.storage = resp.Header.Get("X-Auth-Token"), resp.Header.Get("X-Storage-Url")
		return a.check()
	case 2:
		var answer answerV2
		if err := decodeCatalogue(resp.Body, &answer); err != nil {
			return err
		}
		a.token, a.userHome, a.project = answer.Access.Token.ID, answer.Access.User.DefaultRegion, answer.Access.Token.Tenant.Name
		return a.pick(answer.endpoints())
	default:
		var answer answerV3
		if err := decodeCatalogue(resp.Body, &answer); err != nil {
			return err
		}
		a.token, a.project = resp.Header.Get("X-Subject-Token"), answer.Token.Project.Name
		return a.pick(answer.endpoints())
	}
}

func decodeCatalogue(r io.Reader, into any) error {
	if err := json.NewDecoder(r).Decode(into); err != nil {
		return &connection.Error{
			Kind: connection.ErrProtocol, Err: fmt.Errorf("the identity service's answer: %w", err),
			Hint: "location: what answers there is no identity service of this version",
		}
	}
	return nil
}

// An answerV2 is what POST /v2.0/tokens gives.
type answerV2 struct {
	Access struct {
		ServiceCatalog []struct {
			Type      string
			Endpoints []struct{ PublicURL, Region string }
		}
		Token struct {
			ID     string
			Tenant struct{ Name string }
		}
		User struct {
			DefaultRegion string `json:"RAX-AUTH:defaultRegion"`
		}
	}
}

// An answerV3 is what POST /v3/auth/tokens gives.
type answerV3 struct {
	Token struct {
		Catalog []struct {
			Type      string
			Endpoints []struct {
				URL, Interface, Region string
				RegionID               string `json:"region_id"`
			}
		}
		Project struct{ Name string }
	}
}

// An endpoint is where a region's object store is.
type endpoint struct{ region, url string }

const objectStore = "object-store"

func (a *answerV2) endpoints() (all []endpoint) {
	for _, service := range a.Access.ServiceCatalog {
		for _, e := range service.Endpoints {
			if service.Type == objectStore && e.PublicURL != "" {
				all = append(all, endpoint{e.Region, e.PublicURL})
			}
		}
	}
	return all
}

func (a *answerV3) endpoints() (all []endpoint) {
	for _, service := range a.Token.Catalog {
		for _, e := range service.Endpoints {
			if service.Type != objectStore || e.Interface != "public" || e.URL == "" {
				continue
			}
			region := e.Region
			if region == "" {
				region = e.RegionID
			}
			all = append(all, endpoint{region, e.URL})
		}
	}
	return all
}

// pick chooses the region's object store.
func (a *asker) pick(all []endpoint) error {
	for _, e := range all {
		if !slices.Contains(a.regions, e.region) {
			a.regions = append(a.regions, e.region)
		}
	}
	slices.Sort(a.regions)
	want := a.place.region
	if want == "" && slices.ContainsFunc(all, func(e endpoint) bool { return e.region == a.userHome }) {
		want = a.userHome
	}
	for _, e := range all {
		if want == "" || strings.EqualFold(want, e.region) {
			a.storage = e.url
			return a.check()
		}
	}
	if len(all) == 0 {
		return &connection.Error{
			Kind: connection.ErrConfig, Err: errors.New("the catalogue has no public endpoint of an object store"),
			Hint: a.noStoreHint(),
		}
	}
	return &connection.Error{
		Kind: connection.ErrConfig,
		Err:  fmt.Errorf("config: %s: region %s is not in the catalogue; it has %s", a.place.regionField, want, strings.Join(a.regions, ", ")),
		Hint: fmt.Sprintf("%s: name one of these regions: %s", a.place.regionField, strings.Join(a.regions, ", ")),
	}
}

func (a *asker) noStoreHint() string {
	if a.place.version == 3 && a.project == "" {
		return "project: name the project; without one the identity service tells no endpoints"
	}
	return "identity: the identity service knows of no object store for this user and project"
}

func (a *asker) check() error {
	if a.token == "" || a.storage == "" {
		return &connection.Error{
			Kind: connection.ErrProtocol, Err: errors.New("the identity service's answer has no token or no storage URL"),
			Hint: "location: what answers there is no identity service of this version",
		}
	}
	return nil
}

// StorageUrl implements swift.Authenticator.
func (a *asker) StorageUrl(bool) string { return a.storage }

// Token implements swift.Authenticator.
func (a *asker) Token() string { return a.token }

// CdnUrl implements swift.Authenticator.
func (a *asker) CdnUrl() string { return "" }
