package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/ews/ewstest"
)

// journalReport wraps a message as Exchange does for its journal mailbox.
func journalReport(i int, raw []byte) []byte {
	head := strings.ReplaceAll(fmt.Sprintf(`From: Microsoft Exchange <exchange@corp.test>
To: journal@corp.test
Subject: report %d
X-MS-Journal-Report:
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_report_%d"

--=_report_%d
Content-Type: text/plain; charset="utf-8"

Sender: ann%d@corp.test
Subject: letter %d
Message-Id: <%d@corp.test>
To: bob%d@corp.test
Bcc: secret%d@corp.test

--=_report_%d
Content-Type: message/rfc822

`, i, i, i, i, i, i, i, i, i), "\n", "\r\n")
	return append(append([]byte(head), raw...), fmt.Sprintf("\r\n--=_report_%d--\r\n", i)...)
}

// A journal mailbox on Exchange is emptied into an archive that holds the messages of its reports, octet for octet, and who
// they went to.
func TestExchangeJournal(t *testing.T) {
	srv := ewstest.NewServer(t, &ewstest.Options{Auth: ewstest.Authentication{Schemes: ewstest.NTLM}})
	srv.AddAccount("svc@corp.test", ewstest.AccountOptions{Password: "canary7d41Xq93"})
	mailbox := srv.AddMailbox("journal@corp.test", ewstest.MailboxOptions{})
	srv.GrantImpersonation("svc@corp.test", "journal@corp.test")
	raws := slices.DeleteFunc(realistic(301, 21), func(raw []byte) bool { return len(raw) == 0 })[:300] // there is no report about nothing
	for i, raw := range raws {
		mailbox.Deliver("Inbox", journalReport(i, raw))
	}
	u, err := url.Parse(srv.URL(true))
	if err != nil {
		t.Fatal(err)
	}
	from := settingsFile(t, "ews", map[string]any{
		"server": u.Host, "allow_any_host": true, "disable_autodiscover": true, "server_name": "exchange.corp.test", "ca_pem": srv.CA(),
		"username": "svc@corp.test", "password": "canary7d41Xq93", "mailboxes": []string{"journal@corp.test"},
		"journal": true, "delete_mode": "hard",
	})
	runArgs(t, "-test", "-from", from, "-to", t.TempDir()).want(t, exitOK, "impersonate")
	dir := t.TempDir()
	runArgs(t, "-from", from, "-to", dir).want(t, exitOK, "Stored 300 messages", "Deleted 300 at the source")
	if left := srv.Messages("journal@corp.test", "Inbox"); len(left) != 0 {
		t.Errorf("%d messages are still in the mailbox", len(left))
	}
	wantArchived(t, dir, raws)
	runArgs(t, "-verify", dir).want(t, exitOK, "the archive is whole", "300 manifest lines")
	var manifests bytes.Buffer
	err = filepath.WalkDir(filepath.Join(dir, "manifests"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		manifests.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range raws {
		if who := fmt.Sprintf(`"secret%d@corp.test"`, i); !strings.Contains(manifests.String(), who) {
			t.Errorf("nothing says that message %d went to %s too", i, who)
		}
	}
}
