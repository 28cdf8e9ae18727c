// Package reference generates docs/reference.md from the source: flags, configuration
// fields, metrics, no-bid reasons, and the fields of facts and bid records. Its test
// fails if the document is out of date and writes it with -update. Nothing else calls
// this package.
package reference
