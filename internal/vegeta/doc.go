// Package vegeta pins the vegeta program, which repeats our load tests independently of
// our own code, and tests the commands of README.md for it.
//
// It is a module of its own, so that what the program needs is not among the
// dependencies of ours.
package vegeta
