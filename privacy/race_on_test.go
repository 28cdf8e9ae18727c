//go:build race

package privacy

const raceOn = true
