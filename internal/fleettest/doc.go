// Package fleettest tests the log on a cluster of NATS servers, which run in the
// test's process, and built bidders that share it. It is a module of its own, so
// that the NATS server is not a dependency of Rebound.
package fleettest
