//go:build race

package gmail_test

// randomMailboxes is how many mailboxes a domain has in TestSyncRandom. The race detector makes each request eight times as
// slow, and finds as much in fewer; without it there are 100.
const randomMailboxes = 10
