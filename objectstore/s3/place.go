package s3

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// A place is where a bucket is: what Location and its fellows say.
type place struct {
	scheme string
	host   string // with the port, if one was given, and without the bucket
	region string
	aws    bool // host is Amazon's, so that another region means another host
	bucket string
	path   bool     // the bucket goes into the path
	notes  []string // what was corrected, for people
}

var (
	regionName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	awsRegion  = regexp.MustCompile(`^[a-z]+(-[a-z]+)+-[0-9]+$`)
	awsHost    = regexp.MustCompile(`^s3(?:[.-](?:dualstack\.|fips[.-])?([a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?$`)
)

// regionHosts are hosts of other providers that carry their region.
var regionHosts = [...]*regexp.Regexp{
	regexp.MustCompile(`^([a-z0-9-]+)\.digitaloceanspaces\.com$`),
	regexp.MustCompile(`^s3\.([a-z0-9-]+)\.backblazeb2\.com$`),
	regexp.MustCompile(`^s3\.([a-z0-9-]+)\.wasabisys\.com$`),
	regexp.MustCompile(`^s3\.([a-z0-9-]+)\.scw\.cloud$`),
	regexp.MustCompile(`^s3\.([a-z0-9-]+)\.(?:io\.)?cloud\.ovh\.(?:net|us)$`),
	regexp.MustCompile(`^([a-z]+-[a-z]+-[0-9]+)\.linodeobjects\.com$`),
}

const defaultRegion = "us-east-1"

// place reads Location, Region, Bucket and PathStyle.
func (c Config) place() (place, error) {
	p := place{scheme: "https", bucket: c.Bucket}
	if c.Region != "" && !regionName.MatchString(c.Region) {
		return p, fmt.Errorf("region: %q: want a name such as eu-central-1", c.Region)
	}
	if err := p.locate(strings.TrimSpace(c.Location), c.Region); err != nil {
		return p, fmt.Errorf("location: %w", err)
	}
	if p.region != "" && c.Region != "" && p.region != c.Region {
		return p, fmt.Errorf("region: %q: location says %q", c.Region, p.region)
	}
	for _, region := range []string{c.Region, defaultRegion} {
		if p.region == "" {
			p.region = region
		}
	}
	switch c.PathStyle {
	case PathStyleOn:
		p.path = true
	case PathStyleOff:
	default:
		p.path = !p.aws || strings.Contains(c.Bucket, ".")
	}
	return p, nil
}

// locate reads a location: nothing, a region, a host or a URL. wanted is the region of the settings, "" for none.
func (p *place) locate(text, wanted string) error {
	if !strings.ContainsAny(text, ".:/") && text != "localhost" {
		if text != "" && !awsRegion.MatchString(text) {
			return fmt.Errorf("%q is neither a region nor a host: write a URL, such as http://%s:9000", text, text)
		}
		p.aws, p.region = true, text
		region := text
		if region == "" {
			region = wanted
		}
		if region == "" {
			region = defaultRegion
		}
		p.host = awsEndpoint(region)
		return nil
	}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		if scheme = strings.ToLower(scheme); scheme != "http" && scheme != "https" {
			return fmt.Errorf("scheme %q is not http or https", scheme)
		}
		p.scheme, rest = scheme, after
	}
	// The text may hold a secret from here on: no error repeats it.
	if strings.Contains(rest, "@") {
		return errors.New("holds a user name or password")
	}
	u, err := url.Parse(p.scheme + "://" + rest)
	if err != nil || u.Hostname() == "" || hasControl(rest) || strings.Contains(rest, " ") {
		return errors.New("want a region, a host or a URL")
	}
	if err := checkPort(u); err != nil {
		return err
	}
	if path := strings.Trim(u.Path, "/"); path != "" && path != p.bucket {
		return fmt.Errorf("the path %q is not the bucket: a URL has only a host", "/"+path)
	}
	p.host = strings.ToLower(u.Host)
	if u.RawQuery != "" || u.Fragment != "" {
		p.notes = append(p.notes, "what follows the host is left out")
	}
	if bare, ok := strings.CutPrefix(p.host, p.bucket+"."); ok && p.bucket != "" {
		p.host = bare
		p.notes = append(p.notes, "the bucket is left out of the host: it is "+p.host)
	}
	name := strings.ToLower(u.Hostname())
	p.knowHost(strings.TrimPrefix(name, p.bucket+"."))
	return nil
}

func checkPort(u *url.URL) error {
	port := u.Port()
	if port == "" && strings.HasSuffix(u.Host, ":") {
		return errors.New("the port is missing after the colon")
	}
	if len(port) > 5 || port == "0" {
		return fmt.Errorf("port %q is not from 1 to 65535", port)
	}
	n := 0
	for _, digit := range port {
		n = n*10 + int(digit-'0')
	}
	if n > 65535 {
		return fmt.Errorf("port %q is not from 1 to 65535", port)
	}
	return nil
}

// knowHost takes from a host name what it tells.
func (p *place) knowHost(name string) {
	if m := awsHost.FindStringSubmatch(name); m != nil {
		p.aws = true
		if m[1] != "external-1" { // an old name of us-east-1
			p.region = m[1]
		}
		return
	}
	for _, known := range regionHosts {
		if m := known.FindStringSubmatch(name); m != nil {
			p.region = m[1]
			return
		}
	}
	if strings.HasSuffix(name, ".r2.cloudflarestorage.com") || name == "storage.googleapis.com" {
		p.region = "auto"
	}
}

// awsEndpoint returns the host of a region of Amazon's.
func awsEndpoint(region string) string {
	host := "s3." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		host += ".cn"
	}
	return host
}

// in returns the place in another region.
func (p place) in(region string) place {
	p.region = region
	if p.aws {
		_, port, _ := strings.Cut(p.host, ":")
		p.host = awsEndpoint(region)
		if port != "" {
			p.host += ":" + port
		}
	}
	return p
}

// url returns the address of the bucket.
func (p place) url() url.URL {
	if p.path {
		return url.URL{Scheme: p.scheme, Host: p.host, Path: "/" + p.bucket}
	}
	return url.URL{Scheme: p.scheme, Host: p.bucket + "." + p.host}
}

// endpoint names the bucket for people.
func (p place) endpoint() string { return p.host + "/" + p.bucket }
