package azureblob_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// send makes a request with a signed URL, as a program without credentials would.
func send(t testing.TB, method string, url connection.Secret, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url.Reveal(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func checkPresign(t *testing.T, c *azureblob.Conn) {
	t.Helper()
	const odd = "a b/ü+%&?#.eml"
	get, err := c.Presign(t.Context(), http.MethodGet, odd, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	write, err := c.Presign(t.Context(), http.MethodPut, odd, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, text := send(t, http.MethodPut, write, "text", "x-ms-blob-type", "BlockBlob"); status != http.StatusCreated {
		t.Fatalf("put by a signed URL: %d %s", status, text)
	}
	if status, text := send(t, http.MethodGet, get, ""); status != http.StatusOK || text != "text" {
		t.Errorf("get by a signed URL: %d %q", status, text)
	}
	holds(t, c, odd, "text")
	if status, _ := send(t, http.MethodPut, get, "other", "x-ms-blob-type", "BlockBlob"); status != http.StatusForbidden {
		t.Errorf("put by a URL that is signed for reading: %d", status)
	}
	elsewhere := connection.NewSecret(strings.Replace(get.Reveal(), "a%20b", "other", 1))
	if status, _ := send(t, http.MethodGet, elsewhere, ""); status != http.StatusForbidden {
		t.Errorf("get of another object: %d", status)
	}
	if text := fmt.Sprint(get, write); strings.Contains(text, "sig=") {
		t.Errorf("the URLs print as %s", text)
	}
}

func TestPresign(t *testing.T) {
	srv := newFake(t, nil)
	c := openWith(t, srv, nil, nil)
	checkPresign(t, c)
	get, err := c.Presign(t.Context(), http.MethodGet, "key", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	srv.Add("key", []byte("text"))
	srv.Skew(time.Minute)
	if status, _ := send(t, http.MethodGet, get, ""); status != http.StatusForbidden {
		t.Errorf("get by a URL that has expired: %d", status)
	}
}

// childServer makes this binary another process that uses the server at this address.
const childServer = "AZUREBLOB_TEST_LOCATION"

// E82: the library logs what it is told to by the environment, behind our back. Whatever fails, no secret is in it.
func TestSecretsInTheLibrarysLog(t *testing.T) {
	srv := newFake(t, nil)
	srv.Fail("PutBlockFromURL", 1, objecttest.Status(403, "", "x-ms-error-code: AuthenticationFailed")) // has a signed URL in a header
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildOfSecrets$", "-test.v")
	cmd.Env = append(os.Environ(), childServer+"="+srv.Location(), "AZURE_SDK_GO_LOGGING=all")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(srv.Requests("PutBlockFromURL")) == 0 || !bytes.Contains(out, []byte("OUTGOING REQUEST")) || !bytes.Contains(out, []byte("PutBlob refused")) {
		t.Fatalf("the other process has not done or logged what it should:\n%s", out)
	}
	for _, secret := range []string{key, key[:40], "sig=", "sig%3D"} {
		if i := bytes.Index(out, []byte(secret)); i >= 0 {
			t.Errorf("%.10s… is in the output: %.300s", secret, out[max(0, i-200):])
		}
	}
}

func TestChildOfSecrets(t *testing.T) {
	location := os.Getenv(childServer)
	if location == "" {
		t.Skip("this is the other process of TestSecretsInTheLibrarysLog")
	}
	for _, credential := range []string{key, "d3Jvbmcga2V5"} {
		cfg := azureblob.Config{Settings: settings("devstoreaccount1", location, "mail"), Tuning: quick}
		cfg.Credential = connection.NewSecret(credential)
		c := open(t, cfg, nil)
		fmt.Println(c.Put(t.Context(), "key", strings.NewReader("text"), nil))
		fmt.Println(c.Copy(t.Context(), "copy", "key", &connection.PutOptions{ContentType: "text/plain"}))
		fmt.Println(c.Get(t.Context(), "missing", nil))
		fmt.Println(c.Presign(t.Context(), http.MethodGet, "key", time.Minute))
		fmt.Println(cfg, c)
		report, err := c.Test(t.Context(), &connection.TestOptions{Write: true})
		fmt.Println(report, err)
		if credential != key && err != nil {
			fmt.Println("PutBlob refused")
		}
	}
}
