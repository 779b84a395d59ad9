package saslx

import "github.com/xdg-go/stringprep"

// prepare applies SASLprep (RFC 4013) to a name or password. If s holds a character that SASLprep prohibits, or one that is
// younger than its Unicode 3.2, it is returned as it is with ok false: nearly all servers store a password without any
// preparation.
func prepare(s string) (prepared string, ok bool) {
	prepared, err := stringprep.SASLprep.Prepare(s)
	if err != nil {
		return s, false
	}
	return prepared, true
}
