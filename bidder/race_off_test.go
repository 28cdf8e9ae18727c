//go:build !race

package bidder

const raceOn = false
