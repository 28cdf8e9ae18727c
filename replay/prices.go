package replay

import (
	"math"
	"math/rand/v2"

	"rebound/rtb"
)

// The grid of prices: bins of equal width in the logarithm, from lowest to highest CPM.
const (
	bins    = 400
	lowest  = 0.001
	highest = 1000.0
)

var binWidth = math.Log(highest/lowest) / bins

// Parameters of the estimate. The log-normal estimate of the same prices counts as
// priorWeight observations, so that sparse cells and the range beyond the highest bid
// have a plausible shape. A cell with fewer than minCell observations is estimated with
// the prices of its whole exchange as its prior.
const (
	priorWeight = 20
	minCell     = 50
	rounds      = 60 // of the EM algorithm
	replicas    = 20 // resamples that measure the uncertainty of the estimate
)

// sightings are what is known of the competing prices of one kind of impression, as
// counts over the grid. The price lies in the bin (exact), in it or below it (below), or
// above it (above).
type sightings struct {
	exact, below, above [bins]float64
	n                   float64
}

// binOf returns the bin of a price.
func binOf(p rtb.CPM) int {
	x := p.Units()
	if x <= lowest {
		return 0
	}
	return min(int(math.Log(x/lowest)/binWidth), bins-1)
}

// boundOf returns the last bin whose upper edge is nearest to a price.
func boundOf(p rtb.CPM) int {
	return min(max(int(math.Round(math.Log(max(p.Units(), lowest)/lowest)/binWidth))-1, 0), bins-1)
}

func (s *sightings) add(o *sighting) {
	switch o.certainty {
	case exact:
		if o.price <= o.floor { // the competition bid the floor or less
			s.below[boundOf(o.floor)]++
		} else {
			s.exact[binOf(o.price)]++
		}
	case atMost:
		s.below[boundOf(o.price)]++
	case above:
		s.above[boundOf(o.price)]++
	default:
		return
	}
	s.n++
}

func (s *sightings) merge(o *sightings) {
	for k := range bins {
		s.exact[k] += o.exact[k]
		s.below[k] += o.below[k]
		s.above[k] += o.above[k]
	}
	s.n += o.n
}

// resample returns the sightings with every count drawn from a Poisson distribution.
func (s *sightings) resample(r *rand.Rand) *sightings {
	out := &sightings{}
	for k := range bins {
		out.exact[k], out.below[k], out.above[k] = draws(r, s.exact[k]), draws(r, s.below[k]), draws(r, s.above[k])
		out.n += out.exact[k] + out.below[k] + out.above[k]
	}
	return out
}

func draws(r *rand.Rand, mean float64) float64 {
	if mean == 0 {
		return 0
	}
	return float64(poisson(r, mean))
}

// distribution is a distribution of competing prices over the grid: the probability
// that the price is at most a bin's upper edge.
type distribution [bins]float64

func (d *distribution) set(p *[bins]float64) {
	sum, total := 0.0, 0.0
	for k := range bins {
		total += p[k]
	}
	for k := range bins {
		sum += p[k] / total
		d[k] = min(sum, 1)
	}
}

// atMost returns the probability that the price is at most p.
func (d *distribution) atMost(p rtb.CPM) float64 {
	x := p.Units()
	if x <= lowest {
		return 0
	}
	f := math.Log(x/lowest) / binWidth
	k := int(f)
	if k >= bins {
		return 1
	}
	before := 0.0
	if k > 0 {
		before = d[k-1]
	}
	return before + (f-float64(k))*(d[k]-before)
}

// quantile returns the price that is not exceeded with probability q.
func (d *distribution) quantile(q float64) rtb.CPM {
	low, high := 0, bins-1
	for low < high {
		if mid := (low + high) / 2; d[mid] < q {
			low = mid + 1
		} else {
			high = mid
		}
	}
	before := 0.0
	if low > 0 {
		before = d[low-1]
	}
	f := float64(low)
	if d[low] > before {
		f += min(max((q-before)/(d[low]-before), 0), 1)
	}
	return rtb.CPM(math.Exp(f*binWidth) * lowest * 1e6)
}

// expect spreads every observation over the bins where its price can be, according to
// the probabilities p, and returns the sums.
func (s *sightings) expect(p *[bins]float64) (n [bins]float64) {
	var upTo [bins]float64
	sum := 0.0
	for k := range bins {
		sum += p[k]
		upTo[k] = sum
	}
	const tiny = 1e-12
	reach := 0.0
	for k := bins - 1; k >= 0; k-- {
		if s.below[k] > 0 {
			reach += s.below[k] / max(upTo[k], tiny)
		}
		n[k] = s.exact[k] + p[k]*reach
	}
	reach = 0
	for k := 1; k < bins; k++ {
		if s.above[k-1] > 0 {
			reach += s.above[k-1] / max(sum-upTo[k-1], tiny)
		}
		n[k] += p[k] * reach
	}
	return n
}

// logNormal returns the log-normal distribution that fits the sightings best. It
// maximises the censored likelihood with the EM algorithm.
func (s *sightings) logNormal() (p [bins]float64) {
	mean, spread := s.start(), 0.8
	for range rounds {
		p = normalBins(mean, spread)
		n := s.expect(&p)
		var w, sum, squares float64
		for k := range bins {
			x := float64(k) + 0.5
			w, sum, squares = w+n[k], sum+n[k]*x, squares+n[k]*x*x
		}
		if w == 0 {
			return p
		}
		mean = sum / w
		spread = min(max(math.Sqrt(max(squares/w-mean*mean, 0))*binWidth, 0.1), 2.5)
	}
	return normalBins(mean, spread)
}

// start returns the mean bin of the sightings.
func (s *sightings) start() float64 {
	var w, sum float64
	for k := range bins {
		n := s.exact[k] + s.below[k] + s.above[k]
		w, sum = w+n, sum+n*float64(k)
	}
	if w == 0 {
		return bins / 2
	}
	return sum / w
}

// normalBins returns a normal distribution around a bin; its spread is in units of the
// logarithm.
func normalBins(mean, spread float64) (p [bins]float64) {
	total := 0.0
	for k := range bins {
		z := (float64(k) + 0.5 - mean) * binWidth / spread
		p[k] = math.Exp(-z*z/2) + 1e-12
		total += p[k]
	}
	for k := range bins {
		p[k] /= total
	}
	return p
}

// fit returns the distribution that maximises the likelihood of the sightings, with the
// prior as priorWeight further observations.
func (s *sightings) fit(prior *[bins]float64) (p [bins]float64) {
	p = *prior
	for range rounds {
		n := s.expect(&p)
		total := 0.0
		for k := range bins {
			n[k] += priorWeight * prior[k]
			total += n[k]
		}
		for k := range bins {
			p[k] = n[k] / total
		}
	}
	return p
}
