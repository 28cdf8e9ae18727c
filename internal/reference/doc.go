// Package reference makes docs/reference.md from the source: flags, configuration
// fields, metrics, no-bid reasons and the fields of facts and records. Its test
// fails when the document is not what the source says; run it with -update to
// write it. Nothing else calls it.
package reference
