//go:build race

package events

const raceOn = true
