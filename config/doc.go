// Package config turns one strict YAML file, and what it includes, into one
// immutable, compiled [Snapshot], or into every problem at once, each with its
// file, line, path and the nearest known name.
//
// It guarantees whole or nothing: a file with a single problem gives no
// snapshot. Unknown fields, repeated fields and wrong types are problems. The
// same files give the same [Snapshot.Hash]. Money in the file is decimal major
// units of the advertiser's currency, durations are 90s 30m 12h 7d 4w, times RFC
// 3339, sizes 20GiB, percentages 0 to 100 with a name that ends in _pct.
//
// The programs load at start and on reload; replay loads to compare.
package config
