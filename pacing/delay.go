package pacing

import (
	"math"

	"rebound/rtb"
)

// Conversions come up to 30 days after the click that earned them. An exposure without a
// conversion says little while it is young, so its part of the gradient, the prediction,
// is taken in steps as it gets older: at each age by the share of the conversions that
// are known by then. The expected gradient is then right at any time, whereas taking it
// at once would make every estimate too low until the exposures are old.
//
// The shares are estimated from conversions by their reversed hazards, the share of the
// conversions known at an age that became known in the last step. Each is measured on
// exposures that have reached the age, so that the lack of old exposures does not bias
// it (Lagakos, Barraj, De Gruttola, Biometrika 1988).

// stages is the largest number of ages of a model.
const stages = 7

// ages are the ages at which exposures are looked at, in seconds. The last is longer
// than the window, so that purchases may be reported a little later.
var ages = [models][]rtb.Second{
	viewModel: {900, 3600, 6 * 3600, 36 * 3600},
	buyModel:  {3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400, 14 * 86400, 32 * 86400},
}

// usualShares are the shares of the conversions that are known at each age, before any is
// known: after clicks 35 % within an hour and half within a day (Chapelle, KDD 2014).
var usualShares = [models][]float64{
	viewModel: {0.3, 0.5, 0.75, 1},
	buyModel:  {0.35, 0.42, 0.5, 0.65, 0.8, 0.9, 1},
}

const (
	// delayPrior is the number of conversions that usualShares count as.
	delayPrior = 10.0
	// delayMemory is the mean age, in seconds, of the conversions that count.
	delayMemory = 60 * 86400.0
	// leastPace and mostPace bound by how much the share of new conversions at one age says
	// that those of the later ages are lower or higher than usual.
	leastPace, mostPace = 0.02, 1.5
)

// delay counts the conversions of a model by age: those known at each age, and those of
// them that became known since the age before.
type delay struct {
	Known [stages]float64 `json:"known"`
	New   [stages]float64 `json:"new"`
	At    rtb.Second      `json:"at"`
}

// stageAt returns the first stage whose age is at least age, or the last.
func (m model) stageAt(age rtb.Second) int {
	last := len(ages[m]) - 1
	for i := range last {
		if age <= ages[m][i] {
			return i
		}
	}
	return last
}

// count adds a conversion whose exposure reached the age of a stage.
func (d *delay) count(stage int, isNew bool, at rtb.Second) {
	if at > d.At {
		keep := math.Exp(-float64(at-d.At) / delayMemory)
		for i := range d.Known {
			d.Known[i] *= keep
			d.New[i] *= keep
		}
		d.At = at
	}
	d.Known[stage]++
	if isNew {
		d.New[stage]++
	}
}

// share returns the share of the conversions that are known at the age of a stage. Ages that
// few exposures have reached are taken to differ from the usual as the age before does:
// where conversions come faster than usual, the last of them do too.
func (d *delay) share(m model, stage int) float64 {
	share, pace := 1.0, 1.0
	usual := usualShares[m]
	for i := 1; i < len(ages[m]); i++ {
		prior := delayPrior * usual[i]
		expected := 1 - usual[i-1]/usual[i]
		part := (d.New[i] + prior*expected*pace) / (d.Known[i] + prior)
		pace = min(max(part/expected, leastPace), mostPace)
		if i > stage {
			share *= 1 - part
		}
	}
	return share
}
