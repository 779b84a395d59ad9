package gmail

import "github.com/mailconn/mailconn/gmail/internal/quota"

// Usage is how many quota units a Conn has spent, by user and in all, and what it waits for: see [Conn.Usage]. It knows
// nothing of other programs in the same Google project.
type Usage = quota.Usage

// Pause is a pause that Google has asked for, of one user or of the whole project.
type Pause = quota.Pause

// Usage returns what the connection has spent until now, and the pauses that are in force.
func (c *Conn) Usage() Usage { return c.quota.Usage() }
