//go:build race

package bidder_test

const raceOn = true
