package azureblob_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/internal/peertest"
	"github.com/mailconn/mailconn/objectstore"
	"github.com/mailconn/mailconn/objectstore/azureblob"
)

// An azurite is a real server with one container after the other.
type azurite struct {
	*peertest.AzuriteServer
	n         atomic.Int64
	container string
}

// fresh makes a container and returns the library's client for it.
func (a *azurite) fresh(t testing.TB) *container.Client {
	t.Helper()
	a.container = fmt.Sprintf("mail%d", a.n.Add(1))
	cred, err := blob.NewSharedKeyCredential(a.Account, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(a.URL+"/"+a.container, cred, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *azurite) config() azureblob.Config {
	return azureblob.Config{Settings: objectstore.Settings{
		Identity: a.Account, Credential: connection.NewSecret(a.Key), Location: a.URL, Bucket: a.container,
	}}
}

func open(t testing.TB, cfg azureblob.Config, env *connection.Env) *azureblob.Conn {
	t.Helper()
	c, err := azureblob.Open(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
