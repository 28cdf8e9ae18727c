// Package config compiles one strict YAML file, and the files that it includes,
// into one immutable [Snapshot], or returns every problem at once, each with its
// file, line, path and, where a name is unknown, the nearest known one.
//
// It guarantees that a configuration is used whole or not at all: a single problem
// means no snapshot. Unknown fields, repeated fields and wrong types are problems.
// The same files have the same [Snapshot.Hash]. Money in the file is decimal major
// units of the advertiser's currency, durations are 90s 30m 12h 7d 4w, times RFC
// 3339, sizes 20GiB, and percentages 0 to 100 with names that end in _pct.
//
// The programs load at start and on reload; replay loads to compare.
package config
