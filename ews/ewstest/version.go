package ewstest

import "slices"

// A version is one of the values of RequestServerVersion, from the oldest to the newest.
type version int

const (
	v2007 version = iota
	v2007SP1
	v2010
	v2010SP1
	v2010SP2
	v2013
	v2013SP1
	v2015
	v2016
)

var versionNames = [...]string{
	"Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2",
	"Exchange2013", "Exchange2013_SP1", "Exchange2015", "Exchange2016",
}

func (v version) String() string { return versionNames[v] }

func versionNamed(name string) (version, bool) {
	i := slices.Index(versionNames[:], name)
	return version(i), i >= 0
}

// A product is what Options.Version names: the newest schema that it takes, and its build.
type product struct {
	name                      string
	speaks                    version
	major, minor, build, revn int
}

var products = [...]product{
	{"2007_SP1", v2007SP1, 8, 1, 436, 0},
	{"2010", v2010, 14, 0, 726, 0},
	{"2010_SP1", v2010SP1, 14, 1, 218, 0},
	{"2010_SP2", v2010SP2, 14, 2, 247, 0},
	{"2013", v2013, 15, 0, 516, 32},
	{"2013_SP1", v2013SP1, 15, 0, 847, 32},
	{"2016", v2016, 15, 1, 2507, 6},
	{"2019", v2016, 15, 2, 1544, 4},
	{"SE", v2016, 15, 2, 2562, 17},
}

// productNamed finds a product; "" is 2016.
func productNamed(name string) (product, bool) {
	if name == "" {
		name = "2016"
	}
	i := slices.IndexFunc(products[:], func(p product) bool { return p.name == name })
	if i < 0 {
		return product{}, false
	}
	return products[i], true
}
