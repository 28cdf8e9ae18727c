package segments

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"

	"rebound/rtb"
)

// filterBits is the number of bits of a full layer per key, for about one false positive in a
// thousand.
const filterBits = 16

// filter is a split-block Bloom filter of keys. It may report a key that was never
// added, but never misses one that was. It is safe for concurrent use.
//
// It is a chain of layers, each larger than the one before. When a layer is full, another
// is added, so adding never waits for a rebuild. The first layer has the size of the shop:
// a look-up reads one cache line of each layer, and those of a small layer stay in the
// processor's caches. Keys are already hashes, so their own bits select the bits to set.
type filter struct {
	layers atomic.Pointer[[]*layer]
	mu     sync.Mutex // guards adding
}

// layer has blocks of 8 words; a key sets one bit in each word of one block.
type layer struct {
	words  []atomic.Uint32
	blocks uint64
	room   int // number of keys until the layer is full; protected by the filter's mu
}

// fewKeys is up to how many keys the next layer is eight times as large, so that large
// shops do not have many small layers; beyond it the next one is twice as large.
const fewKeys = 1 << 17

func newFilter(keys int) *filter {
	f := &filter{}
	f.layers.Store(&[]*layer{newLayer(keys)})
	return f
}

func newLayer(keys int) *layer {
	blocks := max(1, keys*filterBits/256)
	return &layer{words: make([]atomic.Uint32, blocks*8), blocks: uint64(blocks), room: keys}
}

// block returns the first word of the key's block, and the bits that select the bit
// in each word.
func (l *layer) block(k *rtb.Key) (int, uint64) {
	hi, _ := bits.Mul64(binary.LittleEndian.Uint64(k[:8]), l.blocks)
	return int(hi) * 8, binary.LittleEndian.Uint64(k[8:])
}

func (l *layer) has(k *rtb.Key) bool {
	at, choice := l.block(k)
	words := l.words[at : at+8]
	for i := range words {
		if words[i].Load()&(1<<(choice&31)) == 0 {
			return false
		}
		choice >>= 5
	}
	return true
}

func (l *layer) set(k *rtb.Key) {
	at, choice := l.block(k)
	words := l.words[at : at+8]
	for i := range words {
		words[i].Or(1 << (choice & 31))
		choice >>= 5
	}
}

// has reports whether the key may have been added.
func (f *filter) has(k *rtb.Key) bool {
	for _, l := range *f.layers.Load() {
		if l.has(k) {
			return true
		}
	}
	return false
}

// add adds the key, so that has returns true for it.
func (f *filter) add(k rtb.Key) {
	if f.has(&k) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	layers := *f.layers.Load()
	last := layers[len(layers)-1]
	if last.room <= 0 {
		last = newLayer(nextLayer(len(last.words) / 8 * 256 / filterBits))
		longer := append(layers[:len(layers):len(layers)], last)
		f.layers.Store(&longer)
	}
	last.set(&k)
	last.room--
}

// nextLayer returns for how many keys the layer after one for keys is.
func nextLayer(keys int) int {
	if keys <= fewKeys {
		return 8 * keys
	}
	return 2 * keys
}
