//go:build !race

package gmail_test

// randomMailboxes is how many mailboxes a domain has in TestSyncRandom.
const randomMailboxes = 100
