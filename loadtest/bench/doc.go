// Package bench compares a bidder with a bare HTTP handler and writes
// docs/performance.md: it generates configurations and traffic, starts both programs
// confined to one core, sends requests from another, and reports medians and spread of
// alternating rounds.
//
// It guarantees that every figure belongs to responses that were checked on a sample,
// that the control moves as many bytes as the bidder, and that the counters which prove
// what was switched on are in the report. It starts the bidder as a program and never
// imports it. CPU time is in microseconds per request, which is the same number as
// core-seconds per million requests. cmd/loadtest calls it.
package bench
