// Package gmail connects to Google's Gmail API, to read every mailbox of a Workspace domain or one mailbox of a single user.
package gmail

import (
	_ "golang.org/x/oauth2"                      // of the token source
	_ "google.golang.org/api/admin/directory/v1" // mailboxes of a domain
	_ "google.golang.org/api/gmail/v1"           // control calls
	_ "google.golang.org/api/googleapi"          // errors
	_ "google.golang.org/api/impersonate"        // keyless delegation
	_ "google.golang.org/api/option"             // transport
)
