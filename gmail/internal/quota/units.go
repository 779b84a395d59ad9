// Package quota keeps the calls of one connection within what Google grants: units for each user and minute, units for the
// project and minute, units for the project and day, and requests at once for each user. It also reads what an answer that
// is an error says about all that.
//
// A Limiter promises: in no span of 60 seconds are more units let through for one user than a [Profile] grants, nor more
// than [ProjectLimit] altogether, and never more than ten seconds' worth at once. What is not let through waits in turn.
package quota

import "strings"

// A Profile is the prices and limits that a Google project has. The zero Profile is [Profile2026].
type Profile string

// The profiles. A project's age cannot be seen through the API.
const (
	Profile2026   Profile = "2026"   // projects created since 2026-05-01: 6,000 units a minute and user, 20 for a message
	ProfileLegacy Profile = "legacy" // projects in use before: 15,000 units a minute and user, 5 for a message
)

// ProjectLimit is how many units a project may spend in a minute, under each profile.
const ProjectLimit = 1_200_000

// Limit returns how many units a user may spend in a minute.
func (p Profile) Limit() int {
	if p == ProfileLegacy {
		return 15_000
	}
	return 6_000
}

// Units returns what a call of method costs: "messages.get", "history.list", "getProfile". Methods that Gmail's quota knows
// nothing of, as those of the directory, cost 0. A method that is not known costs as much as messages.get.
func (p Profile) Units(method string) int {
	if units, ok := prices[method]; ok {
		return units
	}
	dear, ok := reads[method]
	if !ok && (strings.HasPrefix(method, "users.") || strings.HasPrefix(method, "members.") || strings.HasPrefix(method, "groups.") ||
		strings.HasPrefix(method, "audit.")) {
		return 0
	}
	if !ok {
		dear = reads["messages.get"]
	}
	if p == ProfileLegacy {
		return dear.legacy
	}
	return dear.now
}

// prices are the same under each profile.
var prices = map[string]int{
	"getProfile":           1,
	"labels.list":          1,
	"labels.get":           1,
	"labels.create":        5,
	"labels.update":        5,
	"labels.patch":         5,
	"labels.delete":        5,
	"history.list":         2,
	"messages.list":        5,
	"messages.modify":      5,
	"messages.untrash":     5,
	"messages.delete":      10,
	"messages.batchDelete": 50,
	"messages.batchModify": 50,
	"messages.insert":      25,
	"messages.import":      25,
	"messages.send":        100,
	"watch":                100,
	"stop":                 50,
}

// A price is what a call costs a new project, and one that keeps the old prices.
type price struct{ now, legacy int }

var reads = map[string]price{
	"messages.get":             {20, 5},
	"messages.attachments.get": {20, 5},
	"messages.trash":           {20, 5},
	"drafts.get":               {20, 5},
	"threads.get":              {40, 10},
}
