// Package conformance connects the rules of the protocol, listed in rules.yaml, to
// the tests that check them.
//
// A test calls [Covers] with the rules that it checks. When the environment variable
// CONFORMANCE_RESULTS names a file, every such test appends its outcome to that
// file, and make conformance generates docs/conformance.md from those outcomes
// alone.
//
// mutations.yaml lists changes to the source that each take one rule out. It
// addresses the code by declaration, kind of expression and identifiers, not by the
// text of a line. make prove applies the rows one at a time, expects the rule's test
// to fail, and records the outcomes in disabled.txt. make stale reports the rows
// that no longer match the source. Ordinary tests check neither, so that renaming a
// function does not fail them.
//
// Only tests call this package.
package conformance
