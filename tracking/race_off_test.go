//go:build !race

package tracking

const raceOn = false
