package ewstest

// A subscription is what Subscribe made.
type subscription struct {
	id string
}
