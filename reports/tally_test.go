package reports

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// The rows of a tally are those that a map gives, in the order of their cells, also after
// the table has grown, after a commit, and by day.
func TestTally(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= int(dims); n++ {
		var list []dim
		for d := range dims {
			list = append(list, d)
		}
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		c := cube{name: "test", kinds: ofBid | ofNotice | ofRefusal, dims: list[:n]}
		tally := newTally(&c, hourGrain)
		for range 2 {
			fine, days := plainTally{}, plainTally{}
			for range 6 {
				var together []observation
				k := []kind{ofBid, ofNotice, ofRefusal}[random.IntN(3)]
				for range random.IntN(maxWaiting) {
					o := observation{kind: k, at: 1_790_000_000 + random.Int64N(5*dayGrain)}
					for d := range o.dims {
						o.dims[d] = uint32(random.IntN(2)) * random.Uint32()
					}
					for m := range measures {
						if kindOf(m) == k {
							o.sum[m] = random.Int64() - 1<<62
						}
					}
					for range 1 + random.IntN(3) {
						together = append(together, o)
						fine.add(&c, hourGrain, &o)
						days.add(&c, dayGrain, &o)
					}
				}
				tally.add(together)
			}
			byDay := tally.by(&c, dayGrain)
			if got := numbersOf(&tally); tally.rows != len(fine) || !reflect.DeepEqual(got, fine.sorted(n)) {
				t.Fatalf("%d dimensions: got %d rows %v; want %v", n, tally.rows, got, fine.sorted(n))
			}
			if got := numbersOf(byDay); !reflect.DeepEqual(got, days.sorted(n)) {
				t.Fatalf("%d dimensions by day: got %v; want %v", n, got, days.sorted(n))
			}
			tally.clear()
		}
	}
}

func numbersOf(t *tally) (list [][]int64) {
	for _, row := range t.sorted() {
		list = append(list, t.numbers(row, nil))
	}
	return list
}

// plainTally has the sums by time and dimensions.
type plainTally map[[1 + dims]int64][]int64

func (p plainTally) add(c *cube, grain int64, o *observation) {
	key := [1 + dims]int64{o.at / grain * grain}
	for i, d := range c.dims {
		key[1+i] = int64(o.dims[d])
	}
	if p[key] == nil {
		p[key] = make([]int64, len(c.measures()))
	}
	for i, m := range c.measures() {
		p[key][i] += o.sum[m]
	}
}

// sorted returns the rows of a cube with n dimensions.
func (p plainTally) sorted(n int) (list [][]int64) {
	for key, sums := range p {
		list = append(list, append(slices.Clone(key[:1+n]), sums...))
	}
	slices.SortFunc(list, slices.Compare)
	return list
}
