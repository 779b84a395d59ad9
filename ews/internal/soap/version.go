package soap

import "slices"

// A Version is a value of RequestServerVersion: the schema that a request keeps to.
type Version string

// The versions that can be declared, oldest first. 2019, Subscription Edition and Online speak Exchange2016: nothing newer
// is documented.
const (
	Exchange2007    Version = "Exchange2007"
	Exchange2007SP1 Version = "Exchange2007_SP1"
	Exchange2010    Version = "Exchange2010"
	Exchange2010SP1 Version = "Exchange2010_SP1"
	Exchange2010SP2 Version = "Exchange2010_SP2"
	Exchange2013    Version = "Exchange2013"
	Exchange2013SP1 Version = "Exchange2013_SP1"
	Exchange2015    Version = "Exchange2015"
	Exchange2016    Version = "Exchange2016"
)

const (
	unknownVersion   Version = ""
	oldestNegotiated         = Exchange2007SP1 // EWS of 2007 without SP1 lacks too much to be used
)

// Versions returns the versions that can be declared, oldest first.
func Versions() []Version {
	return []Version{
		Exchange2007, Exchange2007SP1, Exchange2010, Exchange2010SP1, Exchange2010SP2, Exchange2013, Exchange2013SP1,
		Exchange2015, Exchange2016,
	}
}

// Valid reports whether v is one of Versions.
func (v Version) Valid() bool { return v.rank() >= 0 }

// Below reports whether v is older than other. A version that is not in Versions is older than all that are.
func (v Version) Below(other Version) bool { return v.rank() < other.rank() }

// Down returns the version to try when a server refuses v, and false if there is none below: Exchange2007_SP1 is the last.
func (v Version) Down() (Version, bool) {
	if !oldestNegotiated.Below(v) {
		return v, false
	}
	return Versions()[v.rank()-1], true
}

func (v Version) rank() int { return slices.Index(Versions(), v) }

// Serves returns the highest version that a server of that name understands. The name is one of 2007_SP1, 2010, 2010_SP1,
// 2010_SP2, 2013, 2013_SP1, 2016, 2019 and SE; false for any other.
func Serves(name string) (Version, bool) {
	switch name {
	case "2019", "SE":
		return Exchange2016, true
	case "2007", "2015": // versions of the schema, but no servers that EWS is used with
		return unknownVersion, false
	}
	v := Version("Exchange" + name)
	return v, v.Valid()
}

// ServerVersionInfo is what a server says of itself in the header of an answer.
type ServerVersionInfo struct {
	Major, Minor, MajorBuild, MinorBuild int
	Version                              string // its own name of its schema, "V2017_07_11" for one; "" if it is silent
}

// ParseBuild returns the highest version that a server of this build understands, and "" for one that is not known.
// A build newer than all known ones is taken for the newest version.
func ParseBuild(s ServerVersionInfo) Version {
	switch {
	case s.Major < 8:
		return unknownVersion
	case s.Major == 8 && s.Minor == 0:
		return Exchange2007
	case s.Major == 8:
		return Exchange2007SP1
	case s.Major < 14:
		return unknownVersion
	case s.Major == 14 && s.Minor == 0:
		return Exchange2010
	case s.Major == 14 && s.Minor == 1:
		return Exchange2010SP1
	case s.Major == 14:
		return Exchange2010SP2
	case s.Major == 15 && s.Minor == 0 && s.MajorBuild < 847:
		return Exchange2013
	case s.Major == 15 && s.Minor == 0:
		return Exchange2013SP1
	}
	return Exchange2016
}
