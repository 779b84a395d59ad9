//go:build race

package soap_test

// slow is set with the race detector, under which the largest inputs are left to the run without it.
const slow = true
