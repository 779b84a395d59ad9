// Package selftest holds the house rules of this repository as tests: which package may import what, no hidden state,
// documented exports, listed dependencies. The rules are in this package's Go files; its tests apply them to the whole
// module, and prove each rule on a planted violation.
package selftest
