// Package arch checks the repository itself: who imports whom, which package
// may use which library, package comments and documented names, sizes of files
// and functions, the list of dependencies, and calls that only the programs may
// make. It reads source text with go/parser and go/ast and nothing else, so it
// needs no build and no network.
//
// It guarantees that every failure says where, what the rule is and why. The
// rules are the tables of rules.go; allow.txt holds exceptions, each with its
// reason, and an exception that is no longer needed is a failure too. Only its
// own tests call it.
package arch
