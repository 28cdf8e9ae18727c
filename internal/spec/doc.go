// Package spec contains what every package needs to compile its part of the
// configuration: a [Problem] with its place, a [Report] that collects problems,
// and one parser each for ids, durations and numbers of bytes.
//
// It guarantees that every message has the same form, "got x; want y", and that
// the same text means the same value in every section. It depends on the
// standard library alone and does no I/O. The rooms that own a part of the
// configuration call it, and config gives each problem its file and line.
package spec
