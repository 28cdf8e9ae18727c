// Package bench compares our decoders with the libraries that could be used
// instead: their speed in benchmarks, and their results in tests.
//
// It is a module of its own, so that those libraries are not dependencies of the
// program. make bench and the continuous integration run it.
package bench
