// Package apptest tests the built programs from outside, through HTTP, logs,
// metrics and signals, without using their internals. Its tests build each
// program once and start it on free ports with a data folder of its own. The
// short ones run with the test command; those named Prove are long and run with
// `make prove`.
package apptest
