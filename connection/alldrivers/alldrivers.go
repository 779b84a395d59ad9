// Package alldrivers is for hosts that want every driver of this module: New returns a registry that holds them all.
// A host that wants fewer makes its own with [connection.NewRegistry] and links only those.
package alldrivers

import (
	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/ews"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/imapclient"
	"github.com/mailconn/mailconn/maildir"
	"github.com/mailconn/mailconn/objectstore/atmos"
	"github.com/mailconn/mailconn/objectstore/azureblob"
	"github.com/mailconn/mailconn/objectstore/b2"
	"github.com/mailconn/mailconn/objectstore/filestore"
	"github.com/mailconn/mailconn/objectstore/s3"
	"github.com/mailconn/mailconn/objectstore/swift"
	"github.com/mailconn/mailconn/pop3client"
	"github.com/mailconn/mailconn/smtpclient"
)

// New returns a new registry of every driver of this module, under all the names that settings may use.
func New() *connection.Registry {
	drivers := []connection.Driver{
		atmos.Driver(),
		azureblob.Driver(),
		b2.Driver(),
		ews.Driver(),
		filestore.Driver(),
		gmail.Driver(),
		imapclient.Driver(),
		maildir.Driver(),
		pop3client.Driver(),
		smtpclient.Driver(),
	}
	drivers = append(drivers, s3.Drivers()...)
	drivers = append(drivers, swift.Drivers()...)
	return connection.NewRegistry(drivers...)
}
