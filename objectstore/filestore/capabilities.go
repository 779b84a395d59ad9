package filestore

import "github.com/mailconn/mailconn/objectstore"

// Capabilities tell what the store can do.
func (c *Conn) Capabilities() objectstore.Capabilities {
	return objectstore.Capabilities{Features: objectstore.Features{IfAbsent: true, Meta: true, Lock: true}, Incomplete: true}
}
