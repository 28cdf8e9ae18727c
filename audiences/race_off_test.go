//go:build !race

package audiences

const raceEnabled = false
