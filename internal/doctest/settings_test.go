package doctest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

// keyHere is what stands for the key of a service account in a settings file. No page can hold a real one.
const keyHere = "put the text of the service account's JSON key here, as one JSON string"

var makeKey = sync.OnceValues(func() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "archive@project.iam.gserviceaccount.com", "client_id": "1234567890", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	return string(raw), err
})

// serviceAccountKey returns a key that can be put where a page says so.
func serviceAccountKey(t *testing.T) string {
	t.Helper()
	key, err := makeKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// checkSettings opens the settings files among the JSON blocks of p. A block without a driver need only be JSON.
func checkSettings(p *page, reg *connection.Registry, key string) (findings []string) {
	asJSON, err := json.Marshal(key)
	if err != nil {
		return []string{err.Error()}
	}
	for _, b := range p.blocks {
		if b.language != "json" {
			continue
		}
		text := strings.ReplaceAll(b.text, `"`+keyHere+`"`, string(asJSON))
		if !json.Valid([]byte(text)) {
			findings = append(findings, p.at(b.line, "this is no JSON"))
			continue
		}
		if driverOf(b) == "" {
			continue
		}
		if err := opens(text, reg); err != nil {
			findings = append(findings, p.at(b.line, "these settings do not open: %v", err))
		}
	}
	return findings
}

func opens(text string, reg *connection.Registry) error {
	s, err := connection.ParseSettings([]byte(text))
	if err != nil {
		return err
	}
	c, err := reg.Open(s, nil)
	if err != nil {
		return err
	}
	return c.Close()
}

// driverOf returns the driver that a settings file names, "" for other blocks.
func driverOf(b block) string {
	var s struct {
		Driver string `json:"driver"`
	}
	if b.language != "json" || json.Unmarshal([]byte(b.text), &s) != nil {
		return ""
	}
	return s.Driver
}

var (
	name   = regexp.MustCompile(`^[a-z][a-z0-9]*([_.][a-z0-9_]+)*$`) // such as a setting has
	quoted = regexp.MustCompile(`"([^"]+)"`)
)

// checkProvider holds the names on a page for administrators against the drivers of the settings files on it: what looks
// like a setting must be one, or a value of one, or a driver. In a table of steps the first column must be a step that the
// code has, and what is quoted must be its words; texts are the string literals of the code.
func checkProvider(p *page, reg *connection.Registry, texts []string) (findings []string) {
	known := map[string]bool{"true": true, "false": true}
	var own []string
	for _, b := range p.blocks {
		if d := driverOf(b); d != "" {
			own = append(own, d)
		}
	}
	if len(own) == 0 {
		findings = append(findings, p.at(1, "there is no settings file on this page"))
	}
	for _, d := range reg.Drivers() {
		known[d.Name()] = true
		if !slices.Contains(own, d.Name()) {
			continue
		}
		for _, f := range d.Fields() {
			known[f.Name] = true
			group, _, _ := strings.Cut(f.Name, ".")
			known[group] = true
			for _, value := range f.Enum {
				known[value] = true
			}
		}
	}
	for _, c := range p.code {
		switch {
		case c.step && !slices.Contains(texts, c.text):
			findings = append(findings, p.at(c.line, "`%s` is no step of any driver", c.text))
		case !c.step && name.MatchString(c.text) && !known[c.text]:
			findings = append(findings, p.at(c.line, "`%s` is no setting of %s", c.text, strings.Join(own, ", ")))
		}
	}
	for _, row := range p.rows {
		for _, m := range quoted.FindAllStringSubmatch(row.text, -1) {
			for part := range strings.SplitSeq(m[1], "…") { // … is what the code fills in
				part = strings.TrimSpace(part)
				if !slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, part) }) {
					findings = append(findings, p.at(row.line, "no driver says %q", part))
				}
			}
		}
	}
	return findings
}
