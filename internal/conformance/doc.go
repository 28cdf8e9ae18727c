// Package conformance ties the rules of the protocol (rules.yaml) to the tests
// that show them.
//
// A test says with [Covers] which rules it shows. Run with the environment
// variable CONFORMANCE_RESULTS naming a file, every such test adds a line with
// its outcome; docs/conformance.md is written from those lines and from nothing
// else (make conformance). mutations.yaml disables rules in the source, one at a
// time, and TestProveDisabled shows that the rule's own test then fails; what it
// found is in disabled.txt. The package's tests keep rules, scenarios, mutations
// and the document in step.
//
// Only tests call it.
package conformance
