package saslx_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/saslx"
	"github.com/mailconn/mailconn/internal/saslx/saslserver"
)

// A driver's login, against a server that is in the same process.
func Example() {
	auth, err := saslx.New(saslx.Account{Username: "juser", Password: connection.NewSecret("hush")})
	if err != nil {
		fmt.Println(err)
		return
	}
	attempt := auth.Login()
	choice, err := attempt.Choose(saslx.Offer{
		Mechanisms: []string{"PLAIN", "CRAM-MD5", "GSSAPI"},
		TLS:        &tls.ConnectionState{Version: tls.VersionTLS12},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(choice.Detail())

	x, err := attempt.Start(context.Background(), choice)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := saslserver.New(x.Name(), &saslserver.Options{
		Password: func(who saslserver.Identity) (string, bool) { return "hush", who.User == "juser" },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var refused error // what the driver makes of the final reply
	err = x.Run("AUTH "+x.Command(true), func(line string) (challenge string, more bool, err error) {
		var response []byte
		if !strings.HasPrefix(line, "AUTH ") {
			if response, err = base64.StdEncoding.DecodeString(line); err != nil {
				return "", false, err
			}
		}
		octets, done, err := server.Next(response)
		if errors.Is(err, saslserver.ErrRefused) {
			refused = &connection.Error{Kind: connection.ErrAuth, Err: err}
			return "", false, nil
		}
		return base64.StdEncoding.EncodeToString(octets), !done, err
	})
	if err == nil {
		err = x.End(refused)
	}
	fmt.Println(server.Identity().User, err)
	// Output:
	// CRAM-MD5 over TLS 1.2; passed over: PLAIN (it comes after CRAM-MD5), GSSAPI (not known to this library)
	// juser <nil>
}
