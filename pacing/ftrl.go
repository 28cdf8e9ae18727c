package pacing

import "math"

// The estimates are logistic regressions over hashed features, trained online with
// FTRL-Proximal (McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD
// 2013), without its L1 term: the table of weights has a fixed size, so that it needs no
// sparsity.

// valueBits is the binary logarithm of the number of weights, which all models share. A
// weight takes 16 bytes of memory once a feature has used its page.
const valueBits = 18

// Parameters of the learning rate, which is ftrlAlpha / (ftrlBeta + sqrt(n)) for a weight
// whose squared gradients add up to n, about the number of its clicks.
const (
	ftrlAlpha = 0.15
	ftrlBeta  = 1.0
	ftrlL2    = 1.0
)

// weight is the state of one feature: z and n of the paper.
type weight struct{ z, n float64 }

func (w *weight) value() float64 {
	return -w.z / ((ftrlBeta+math.Sqrt(w.n))/ftrlAlpha + ftrlL2)
}

// step follows the gradient g of the loss in the weight.
func (w *weight) step(g float64) {
	n := w.n + g*g
	w.z += g - (math.Sqrt(n)-math.Sqrt(w.n))/ftrlAlpha*w.value()
	w.n = n
}

// Pages of the table, which are allocated when a feature uses them.
const (
	pageBits  = 8
	pageSize  = 1 << pageBits
	pageCount = 1 << (valueBits - pageBits)
)

// weights is the table of weights with the indexes that changed since the last commit.
type weights struct {
	pages   [pageCount]*[pageSize]weight
	stale   [pageCount]bool // the published copy of the page is out of date
	changed []uint32
	marks   [1 << valueBits / 64]uint64 // set for the indexes in changed
}

func newWeights() *weights { return &weights{} }

// mark adds an index to changed.
func (t *weights) mark(i uint32) {
	if bit := uint64(1) << (i % 64); t.marks[i/64]&bit == 0 {
		t.marks[i/64] |= bit
		t.changed = append(t.changed, i)
	}
}

// committed forgets the changes, which are on disk.
func (t *weights) committed() {
	for _, i := range t.changed {
		t.marks[i/64] = 0
	}
	t.changed = t.changed[:0]
}

// at returns a weight; ok is false where no feature has used its page.
func (t *weights) at(i uint32) (w weight, ok bool) {
	if page := t.pages[i>>pageBits]; page != nil {
		return page[i%pageSize], true
	}
	return weight{}, false
}

func (t *weights) put(i uint32, w weight) {
	page := &t.pages[i>>pageBits]
	if *page == nil {
		*page = new([pageSize]weight)
	}
	(*page)[i%pageSize] = w
	t.stale[i>>pageBits] = true
}

// step follows the gradient g in the score of a model's features.
func (t *weights) step(m model, x *inputs, g float64) {
	for _, h := range x.list() {
		i := m.index(h)
		w, _ := t.at(i)
		w.step(g)
		t.put(i, w)
		t.mark(i)
	}
}

// predict returns a model's prediction.
func (t *weights) predict(m model, x *inputs) float64 {
	sum := logit(startRates[m])
	for _, h := range x.list() {
		if w, ok := t.at(m.index(h)); ok {
			sum += w.value()
		}
	}
	return sigmoid(sum)
}

func sigmoid(score float64) float64 { return 1 / (1 + math.Exp(-score)) }

func logit(p float64) float64 { return math.Log(p / (1 - p)) }
