//go:build !race

package b2_test

const raced = false
