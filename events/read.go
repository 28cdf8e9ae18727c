package events

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// ErrTorn says that a file's last line has no end: its writer was cut off.
var ErrTorn = errors.New("torn last line")

// LineError is what is wrong with one line.
type LineError struct {
	File string
	Line int // from 1
	Err  error
}

// Error is file:line: what is wrong.
func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap is what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// ReadFacts reads facts, one a line; name stands for the file in errors. A bad
// line gives a [*LineError] and reading goes on with the next, unless the caller
// stops; any other error is the last thing that comes. Facts may be kept.
func ReadFacts(name string, r io.Reader) iter.Seq2[*Fact, error] {
	return func(yield func(*Fact, error) bool) {}
}

// ReadRecords reads bid records as ReadFacts reads facts. A line that is a bare
// OpenRTB request becomes a record with only Request set (V is 0).
func ReadRecords(name string, r io.Reader) iter.Seq2[*BidRecord, error] {
	return func(yield func(*BidRecord, error) bool) {}
}

// ReadFactFiles reads the files that the patterns match, one after the other,
// sorted by name; .zst and .gz are unpacked. A pattern that matches nothing is an
// error.
func ReadFactFiles(patterns ...string) iter.Seq2[*Fact, error] {
	return func(yield func(*Fact, error) bool) {}
}

// ReadRecordFiles reads bid records as ReadFactFiles reads facts.
func ReadRecordFiles(patterns ...string) iter.Seq2[*BidRecord, error] {
	return func(yield func(*BidRecord, error) bool) {}
}
