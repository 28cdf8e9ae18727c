package pacing

import (
	"math"

	"rebound/rtb"
)

// Calibration compares what a model predicted for billed impressions, before it learned
// from them, with what happened. The ratio corrects the model's level, overall and per
// line: a model that shares its weights between lines follows the drift of one of them
// only slowly.
const (
	// Numbers of outcomes that the ratios of all lines and of one line start with.
	calibrationPrior, linePrior = 100.0, 50.0
	// A ratio beyond maxCalibration, or below its inverse, is a fault of the data.
	maxCalibration = 10.0
)

// calibrationMemory is the mean age, in seconds, of the outcomes that count. Conversions are
// rarer than clicks.
var calibrationMemory = [models]float64{clickModel: 86400, viewModel: 5 * 86400, buyModel: 5 * 86400}

// calibration is one comparison: two sums that fade with log time.
type calibration struct {
	Predicted float64    `json:"predicted"`
	Observed  float64    `json:"observed"`
	At        rtb.Second `json:"at"`
}

// fade brings the sums to a time.
func (c *calibration) fade(m model, at rtb.Second) {
	if at <= c.At {
		return
	}
	if c.At != 0 {
		keep := math.Exp(-float64(at-c.At) / calibrationMemory[m])
		c.Predicted *= keep
		c.Observed *= keep
	}
	c.At = at
}

// ratio returns the correction of predictions that were corrected by above already.
func (c *calibration) ratio(above, prior float64) float64 {
	r := (max(c.Observed, 0) + prior) / (c.Predicted*above + prior)
	return min(max(r, 1/maxCalibration), maxCalibration)
}
