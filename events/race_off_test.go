//go:build !race

package events

const raceOn = false
