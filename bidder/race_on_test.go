//go:build race

package bidder

const raceOn = true
