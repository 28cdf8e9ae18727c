// Package arch checks the repository itself: import directions, the libraries that a
// package may use, package comments and documented names, the sizes of files and
// functions, the list of dependencies, and calls that only the programs may make. It
// parses the sources and needs neither a build nor the network.
//
// Every failure states the place, the rule and the reason. The rules are the tables
// in rules.go; allow.txt lists exceptions with their reasons, and an exception that
// is no longer needed is a failure too. Only the tests of this package call it.
package arch
