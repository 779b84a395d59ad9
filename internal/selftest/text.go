package selftest

import (
	"bytes"
	"regexp"
	"strconv"
)

// foreign matches what belongs to the machine that somebody worked on, not to this repository: home and work folders,
// and the hosts of package registries, which each user's own settings name.
var foreign = regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(work|home|root|Users)/[a-z]|goproxy\.|proxy\.golang\.|sum\.golang\.|artifactory|\bnexus\.|GOPROXY=h`)

// CheckText holds the text of any file of the repository against foreign.
func CheckText(name string, text []byte) []Finding {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil // not a text
	}
	var found []Finding
	for i, line := range bytes.Split(text, []byte("\n")) {
		if m := foreign.Find(line); m != nil {
			found = append(found, Finding{name + ":" + strconv.Itoa(i+1), "names " + string(m)})
		}
	}
	return found
}
