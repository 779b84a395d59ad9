// Package alldrivers is for hosts that want every driver of this module: New returns a registry that holds them all.
// A host that wants fewer makes its own with [connection.NewRegistry] and links only those.
package alldrivers

import (
	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/objectstore/filestore"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/smtpclient"
)

// New returns a new registry of every driver of this module.
func New() *connection.Registry {
	return connection.NewRegistry(
		filestore.Driver(),
		imapclient.Driver(),
		maildir.Driver(),
		pop3client.Driver(),
		smtpclient.Driver(),
	)
}
