// Package longrun contains the code that programs with long runs share: output
// files that are checked before the run begins, and a progress bar.
//
// It guarantees that a run never starts when one of its outputs could not be written
// afterwards, and that a run that fails leaves existing files as they were. Only
// cmd/replay and cmd/loadtest call it.
package longrun
