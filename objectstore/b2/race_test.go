//go:build race

package b2_test

// raced says that the race detector makes hashing slow.
const raced = true
