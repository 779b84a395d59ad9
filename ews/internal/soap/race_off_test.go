//go:build !race

package soap_test

const slow = false
