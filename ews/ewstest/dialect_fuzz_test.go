package ewstest_test

import (
	"encoding/xml"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// FuzzDialect holds the renderer against encoding/xml: a folder's name arrives as it is, in every dialect.
func FuzzDialect(f *testing.F) {
	f.Add("plain", uint64(1))
	f.Add("<a href='x'>&amp; ]]> \"q\" --> \t\n", uint64(2))
	f.Add("Entwürfe \U0001F4E7 &#x0; <![CDATA[", uint64(3))
	srv, err := ewstest.Listen(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(srv.Close)
	folder := srv.AddMailbox(aliceAddress, ewstest.MailboxOptions{Password: alicePassword}).Folder("A")
	ask := envelope("", `<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:FolderIds><t:FolderId Id="`+folder.ID()+`"/></m:FolderIds></m:GetFolder>`)
	declaration := regexp.MustCompile("^\ufeff?(<\\?xml [^>]*>)?")
	f.Fuzz(func(t *testing.T, name string, seed uint64) {
		if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff }) {
			t.Skip("no text of XML")
		}
		folder.Rename(name)
		srv.SetDialect(ewstest.RandomDialect(seed))
		body := alice(t, srv).must(ask).body
		var got struct {
			Name string `xml:"Body>GetFolderResponse>ResponseMessages>GetFolderResponseMessage>Folders>Folder>DisplayName"`
		}
		if err := xml.Unmarshal([]byte(declaration.ReplaceAllString(body, "")), &got); err != nil || got.Name != name {
			t.Errorf("got %q, %v, want %q: %s", got.Name, err, name, body)
		}
	})
}
