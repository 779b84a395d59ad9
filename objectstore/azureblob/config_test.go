package azureblob_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/azureblob"
)

// key is the one that the emulator's documentation gives.
const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

func settings(identity, location, bucket string) objectstore.Settings {
	return objectstore.Settings{Identity: identity, Credential: connection.NewSecret(key), Location: location, Bucket: bucket}
}

// E39: where a Location leads.
func TestLocation(t *testing.T) {
	for name, test := range map[string]struct{ identity, location, want string }{
		"empty":                    {"archiva", "", "https://archiva.blob.core.windows.net"},
		"the manual's word":        {"archiva", "azureblob", "https://archiva.blob.core.windows.net"},
		"spaces and case":          {"archiva", " AzureBlob ", "https://archiva.blob.core.windows.net"},
		"China":                    {"archiva", "AzureChinaCloud", "https://archiva.blob.core.chinacloudapi.cn"},
		"US government":            {"archiva", "AzureUSGovernment", "https://archiva.blob.core.usgovcloudapi.net"},
		"URL":                      {"archiva", "https://archiva.blob.core.windows.net/", "https://archiva.blob.core.windows.net"},
		"no scheme":                {"archiva", "archiva.blob.core.windows.net:443", "https://archiva.blob.core.windows.net:443"},
		"http":                     {"archiva", "http://archiva.blob.core.windows.net", "http://archiva.blob.core.windows.net"},
		"without the account":      {"archiva", "https://blob.core.chinacloudapi.cn", "https://archiva.blob.core.chinacloudapi.cn"},
		"with the container":       {"archiva", "https://archiva.blob.core.windows.net/mail", "https://archiva.blob.core.windows.net"},
		"zone":                     {"archiva", "https://archiva.z12.blob.storage.azure.net", "https://archiva.z12.blob.storage.azure.net"},
		"private endpoint":         {"archiva", "https://archiva.privatelink.blob.core.windows.net", "https://archiva.privatelink.blob.core.windows.net"},
		"own domain":               {"archiva", "https://files.example.org", "https://files.example.org"},
		"emulator":                 {"devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1"},
		"emulator, slash":          {"devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1/", "http://127.0.0.1:10000/devstoreaccount1"},
		"emulator, no account":     {"devstoreaccount1", "http://127.0.0.1:10000", "http://127.0.0.1:10000/devstoreaccount1"},
		"emulator by name":         {"devstoreaccount1", "http://azurite:10000", "http://azurite:10000/devstoreaccount1"},
		"emulator in a domain":     {"devstoreaccount1", "http://azurite.example.org:10000/devstoreaccount1", "http://azurite.example.org:10000/devstoreaccount1"},
		"emulator, container":      {"devstoreaccount1", "http://[::1]:10000/devstoreaccount1/mail", "http://[::1]:10000/devstoreaccount1"},
		"localhost without scheme": {"devstoreaccount1", "localhost:10000", "https://localhost:10000/devstoreaccount1"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := azureblob.Open(azureblob.Config{Settings: settings(test.identity, test.location, "mail")}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := c.Info().Endpoint, test.want+"/mail"; got != want {
				t.Errorf("location %q leads to %s, want %s", test.location, got, want)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct{ config, want string }{
		"no identity":          {`{"credential":"a2V5","bucket":"mail"}`, "config: identity: missing"},
		"identity":             {`{"identity":"My-Account","credential":"a2V5","bucket":"mail"}`, `config: identity: "My-Account" is no name`},
		"no credential":        {`{"identity":"archiva","bucket":"mail"}`, "config: credential: missing"},
		"credential":           {`{"identity":"archiva","credential":"päss","bucket":"mail"}`, "config: credential: not base64"},
		"connection string":    {`{"identity":"archiva","credential":"AccountName=a;AccountKey=a2V5","bucket":"mail"}`, "follows AccountKey="},
		"no bucket":            {`{"identity":"archiva","credential":"a2V5"}`, "config: bucket: missing"},
		"E10 capital letters":  {`{"identity":"archiva","credential":"a2V5","bucket":"Mail"}`, `config: bucket: "Mail" is no bucket name of azureblob: `},
		"E10 too short":        {`{"identity":"archiva","credential":"a2V5","bucket":"ab"}`, `config: bucket: "ab" is no bucket name of azureblob: `},
		"two hyphens":          {`{"identity":"archiva","credential":"a2V5","bucket":"a--b"}`, "is no bucket name"},
		"hyphen last":          {`{"identity":"archiva","credential":"a2V5","bucket":"abc-"}`, "is no bucket name"},
		"64 letters":           {`{"identity":"archiva","credential":"a2V5","bucket":"` + strings.Repeat("a", 64) + `"}`, "is no bucket name"},
		"scheme":               {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"ftp://x.example.org"}`, `config: location: scheme "ftp" is not http or https`},
		"user in the URL":      {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"https://ann:hunter2@x.example.org"}`, "config: location: holds a user name or password"},
		"SAS in the URL":       {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"https://x.example.org/?sig=hunter2"}`, "config: location: holds a query"},
		"broken URL":           {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"https://ann:hunter2@x.example.org:port"}`, "config: location: is no URL"},
		"a word":               {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"westeurope"}`, `config: location: "westeurope" is no URL`},
		"another account":      {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"https://other.blob.core.windows.net"}`, `account "other", but identity is "archiva"`},
		"data lake":            {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"https://archiva.dfs.core.windows.net"}`, `config: location: archiva.dfs.core.windows.net is the endpoint of another service`},
		"path":                 {`{"identity":"archiva","credential":"a2V5","bucket":"mail","location":"https://files.example.org/other/mail"}`, `config: location: the path holds "other"`},
		"tier":                 {`{"identity":"archiva","credential":"a2V5","bucket":"mail","storage_class":"GLACIER"}`, "config: storage_class: "},
		"retention mode":       {`{"identity":"archiva","credential":"a2V5","bucket":"mail","retention_mode":"WORM"}`, "config: retention_mode: "},
		"encryption scope":     {`{"identity":"archiva","credential":"a2V5","bucket":"mail","encryption_scope":"a b c"}`, "config: encryption_scope: "},
		"parts too large":      {`{"identity":"archiva","credential":"a2V5","bucket":"mail","part_size":5000000000}`, "config: part_size: "},
		"single put too large": {`{"identity":"archiva","credential":"a2V5","bucket":"mail","single_put_limit":300000000}`, "config: single_put_limit: "},
		"connect timeout":      {`{"identity":"archiva","credential":"a2V5","bucket":"mail","connect_timeout":"-1s"}`, "config: connect_timeout: negative"},
		"workers":              {`{"identity":"archiva","credential":"a2V5","bucket":"mail","workers":-1}`, "config: workers: "},
		"TLS":                  {`{"identity":"archiva","credential":"a2V5","bucket":"mail","min_tls":"0.9"}`, "config: min_tls: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connection.NewRegistry(azureblob.Driver()).Open(connection.Settings{Driver: "azureblob", Config: json.RawMessage(test.config)}, nil)
			if err == nil || connection.KindOf(err) != connection.ErrConfig {
				t.Fatalf("got error %v, want one of kind %v", err, connection.ErrConfig)
			}
			if text := err.Error(); !strings.Contains(text, test.want) || strings.Contains(text, "hunter2") || strings.Contains(text, "a2V5") {
				t.Errorf("got error\n%s\nwant\n%s\nin it, and no secret", text, test.want)
			}
		})
	}
}
