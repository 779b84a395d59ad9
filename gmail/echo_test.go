package gmail_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// echo is a fault: where the answer has %TOKEN% it has the token of the newest request.
func echo(srv *gmailtest.Server) gmailtest.Fault {
	return gmailtest.Rewrite(func(body []byte) []byte {
		all := srv.Requests()
		token := strings.TrimPrefix(all[len(all)-1].Header.Get("Authorization"), "Bearer ")
		return bytes.ReplaceAll(body, []byte("%TOKEN%"), []byte(token))
	})
}

// wantHidden fails if err holds the token of any request, or is none.
func wantHidden(t *testing.T, srv *gmailtest.Server, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), connection.Redacted) {
		t.Errorf("got %v, want an error with what the server says", err)
		return
	}
	for _, q := range srv.Requests() {
		if token := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer "); token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("the token is in %v", err)
		}
	}
}

func TestFeedThatEchoesTheToken(t *testing.T) {
	for name, fault := range map[string]gmailtest.Fault{
		"forbidden": gmailtest.Status(403, "who is %TOKEN%?"),
		"a page":    gmailtest.Status(200, "<html>who is %TOKEN%?</html>"),
		"its own":   gmailtest.Status(400, `<AppsForYourDomainErrors><error errorCode="1801" invalidInput="%TOKEN%" reason="who is %TOKEN%?"/></AppsForYourDomainErrors>`),
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, &gmailtest.Options{AllowBadRequests: true}, nil, func(t *testing.T, r *changeRig) {
				r.Fail(gmailtest.On("audit").Times(1), fault, echo(r.Server))
				_, err := r.conn.Monitors(t.Context(), r.ann)
				wantHidden(t, r.Server, err)
			})
		})
	}
}

func TestBatchThatEchoesTheToken(t *testing.T) {
	for _, status := range []string{"403 Forbidden", "400 Bad Request"} {
		t.Run(status, func(t *testing.T) {
			inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
				refs := refsIn(r.id, r.Deliver(ann, mail(1)...))
				// Nobody would know this one for a token by its looks.
				opaque := gmailtest.Status(200, `{"access_token":"opaque.0123456789","token_type":"Bearer","expires_in":3600}`)
				r.Fail(gmailtest.On("token").Scope("https://www.googleapis.com/auth/gmail.readonly"), opaque)
				const part = "--b\r\nContent-Type: application/http\r\nContent-ID: <response-item-0>\r\n\r\nHTTP/1.1 "
				body := part + status + "\r\nContent-Type: application/json\r\n\r\n" + `{"error":{"code":403,"message":"who is %TOKEN%?"}}` + "\r\n--b--\r\n"
				r.Fail(gmailtest.On("batch"), gmailtest.Status(200, body), gmailtest.Header("Content-Type", "multipart/mixed; boundary=b"), echo(r.Server))
				got := refresh(t, r.conn, refs...)
				err := got.err
				for _, failed := range got.failed {
					err = failed
				}
				wantHidden(t, r.Server, err)
			})
		})
	}
}
