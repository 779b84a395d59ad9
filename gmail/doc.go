// Package gmail connects to Google's Gmail API, to read every mailbox of a Workspace domain or one mailbox of a single user.
package gmail
