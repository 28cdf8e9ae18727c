package segments

import (
	"math/rand/v2"
	"sync"
	"testing"

	"rebound/rtb"
)

func randomKey(r *rand.Rand) (k rtb.Key) {
	for i := range k {
		k[i] = byte(r.Uint32())
	}
	return k
}

func TestFilterForgetsNothingAndErrsSeldom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	f := newFilter(1000)
	keys := make([]rtb.Key, 60_000) // three layers
	for i := range keys {
		keys[i] = randomKey(r)
	}
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < len(keys); i += 4 {
				f.add(keys[i])
			}
		})
	}
	wg.Wait()
	for i := range keys {
		if !f.has(&keys[i]) {
			t.Fatal("an added key is not there")
		}
	}
	wrong := 0
	for range 100_000 {
		k := randomKey(r)
		if f.has(&k) {
			wrong++
		}
	}
	if layers := len(*f.layers.Load()); wrong > 1000 || layers != 3 {
		t.Errorf("%d of 100,000 strangers pass %d layers; want at most 1 %% and 3", wrong, layers)
	}
}

func BenchmarkFilterMiss(b *testing.B) {
	f := newFilter(1 << 20)
	k := randomKey(rand.New(rand.NewPCG(1, 1)))
	for b.Loop() {
		f.has(&k)
	}
}
