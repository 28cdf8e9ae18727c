//go:build race

package creatives

const raceEnabled = true
