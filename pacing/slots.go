package pacing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"rebound/rtb"
)

// The reservations of a run are kept in a memory-mapped file of fixed slots as well,
// written before the response leaves, so that the next run knows the commitments of
// a killed one. Data in memory pages survives the end of the process, but not a
// power cut: the file is trusted only after a clean stop or in the same boot, and only if
// it lists every run of this node whose bids may be in flight.
//
//	header  magic, clean, unknownUntil, boot id, run, known runs
//	slot    state, checksum, bid, visitor, scopes, budgets, cost, three times
const (
	slotMagic     = "rebound reservations 1\n"
	slotHeader    = 4096 // bytes
	slotSize      = 192
	slotsPerChunk = 16384 // mapped at a time: 3 MiB
	leastFree     = slotsPerChunk / 4

	headerClean   = 32
	headerUnknown = 36
	headerBoot    = 64
	headerRun     = 128
	headerText    = 64
	headerKnown   = 192 // number of known runs, plus 1; 0: they are not listed
	headerRuns    = 200 // hashes of their names
	mostRuns      = (slotHeader - headerRuns) / 8
)

// errSlots means that the file does not contain the last run's reservations.
var errSlots = errors.New("cannot read reservations")

// slotFile is the mapped file. mu protects the lists; no other lock is taken while it is
// held.
type slotFile struct {
	file *os.File
	most int

	mu     sync.Mutex
	chunks [][]byte
	free   []int32

	// known are hashes of the runs whose bids in flight are in the file. Before the first
	// takeover the last run is one of them. A file of a version that did not list them has
	// listed false.
	known  []uint64
	listed bool
}

// openSlots opens the file for a run and calls fn for every bid that the last run had
// in flight; bids for which fn returns false are dropped. last is that run's name.
// If the file does not exist or cannot be trusted, it is created again and err wraps
// errSlots; unknown is until when an earlier such loss has to be minded.
func openSlots(path, run string, most int, fn func(*slotRecord, int32) bool) (s *slotFile, last string, unknown rtb.Second, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, "", 0, fmt.Errorf("cannot open reservations: %w", err)
	}
	s = &slotFile{file: f, most: most}
	defer func() {
		if err != nil && !errors.Is(err, errSlots) {
			_ = f.Close()
		}
	}()
	last, unknown, doubtful := s.readHeader()
	if doubtful == nil {
		if doubtful = s.mapAll(); doubtful == nil {
			doubtful = s.readSlots(fn)
		}
	}
	if doubtful != nil {
		if err := s.begin(); err != nil {
			return nil, "", 0, err
		}
		s.known, s.listed = nil, true // the next run finds that runs are missing if this one ends before the first takeover
	} else {
		s.know(nameHash(last))
	}
	if err := s.writeHeader(run, false, unknown); err != nil {
		return nil, "", 0, err
	}
	if err := s.grow(); err != nil {
		return nil, "", 0, err
	}
	return s, last, unknown, doubtful
}

// nameHash returns the 64-bit FNV-1a hash of a name.
func nameHash(name string) uint64 { return moreHash(14695981039346656037, name) }

// moreHash continues a hash with more text.
func moreHash(h uint64, name string) uint64 {
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}

// bootID identifies the current boot of the machine; it is empty if that is unknown.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (s *slotFile) readHeader() (last string, unknown rtb.Second, err error) {
	var h [slotHeader]byte
	if n, err := s.file.ReadAt(h[:], 0); err != nil || string(h[:len(slotMagic)]) != slotMagic {
		return "", 0, fmt.Errorf("%w: got %d bytes of header; want %q first", errSlots, n, slotMagic)
	}
	text := func(at int) string { return strings.TrimRight(string(h[at:at+headerText]), "\x00") }
	last, unknown = text(headerRun), rtb.Second(binary.LittleEndian.Uint32(h[headerUnknown:]))
	if n := binary.LittleEndian.Uint32(h[headerKnown:]); n > 0 && n <= mostRuns+1 {
		s.listed = true
		for i := range n - 1 {
			s.known = append(s.known, binary.LittleEndian.Uint64(h[headerRuns+8*i:]))
		}
	}
	if boot := text(headerBoot); h[headerClean] != 1 && (boot == "" || boot != bootID()) {
		return last, unknown, fmt.Errorf("%w: the machine was started since the last run, which was not stopped", errSlots)
	}
	return last, unknown, nil
}

// know adds a run whose bids in flight are in the file.
func (s *slotFile) know(run uint64) {
	if !slices.Contains(s.known, run) {
		s.known = append(s.known, run)
	}
	if extra := len(s.known) - mostRuns; extra > 0 { // those that are left out count as unknown
		s.known = slices.Delete(s.known, 0, extra)
	}
}

// writeHeader stores the header on disk.
func (s *slotFile) writeHeader(run string, clean bool, unknown rtb.Second) error {
	var h [slotHeader]byte
	copy(h[:], slotMagic)
	if clean {
		h[headerClean] = 1
	}
	binary.LittleEndian.PutUint32(h[headerUnknown:], uint32(unknown))
	copy(h[headerBoot:headerBoot+headerText], bootID())
	copy(h[headerRun:headerRun+headerText], run)
	if s.listed {
		binary.LittleEndian.PutUint32(h[headerKnown:], uint32(len(s.known)+1))
		for i, hash := range s.known {
			binary.LittleEndian.PutUint64(h[headerRuns+8*i:], hash)
		}
	}
	if _, err := s.file.WriteAt(h[:], 0); err != nil {
		return fmt.Errorf("cannot write header of reservations: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("cannot sync reservations: %w", err)
	}
	return nil
}

// begin empties the file.
func (s *slotFile) begin() error {
	err := s.unmap()
	s.free = s.free[:0]
	if err = errors.Join(err, s.file.Truncate(0)); err != nil {
		return fmt.Errorf("cannot empty reservations: %w", err)
	}
	return nil
}

func (s *slotFile) mapAll() error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", errSlots, err)
	}
	const chunk = slotsPerChunk * slotSize
	size := info.Size() - slotHeader
	if size < 0 || size%chunk != 0 {
		return fmt.Errorf("%w: got %d bytes of slots; want a multiple of %d", errSlots, size, chunk)
	}
	for at := range size / chunk {
		if err := s.mapChunk(slotHeader + at*chunk); err != nil {
			return fmt.Errorf("%w: %w", errSlots, err)
		}
	}
	return nil
}

func (s *slotFile) mapChunk(offset int64) error {
	m, err := mapFile(s.file, offset, slotsPerChunk*slotSize)
	if err != nil {
		return err
	}
	s.chunks = append(s.chunks, m)
	return nil
}

func (s *slotFile) unmap() (err error) {
	for _, m := range s.chunks {
		err = errors.Join(err, unmapFile(m))
	}
	s.chunks = nil
	return err
}

// readSlots passes the live slots to fn and lists the others as free.
func (s *slotFile) readSlots(fn func(*slotRecord, int32) bool) error {
	for i := len(s.chunks)*slotsPerChunk - 1; i >= 0; i-- {
		b := s.slot(int32(i))
		if stateOf(b).Load() == 0 {
			s.free = append(s.free, int32(i))
			continue
		}
		var r slotRecord
		if !r.decode(b) {
			return fmt.Errorf("%w: slot %d is damaged", errSlots, i)
		}
		if !fn(&r, int32(i)) {
			stateOf(b).Store(0)
			s.free = append(s.free, int32(i))
		}
	}
	return nil
}

func (s *slotFile) slot(i int32) []byte {
	at := int(i) % slotsPerChunk * slotSize
	return s.chunks[i/slotsPerChunk][at : at+slotSize : at+slotSize]
}

// stateOf returns the state of a slot: 0 if it is free, else one more than resState and
// its flags.
func stateOf(b []byte) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&b[0])) }

const (
	slotWon      = 1 << 8
	slotQuarters = 1 << 17 // its hour counts quarters of an hour, as rtb.Hour does; before, hours
	slotLayout   = 1 << 16 // of a slot in the second layout; the first one has hashes of budgets instead of their caps

	slotEnd      = slotSize // of the second layout
	slotEndFirst = 168
)

// put writes a reservation. It returns -1 if all slots are in use.
func (s *slotFile) put(r *slotRecord) int32 {
	if s == nil {
		return -1
	}
	s.mu.Lock()
	n := len(s.free)
	if n == 0 {
		s.mu.Unlock()
		return -1
	}
	i := s.free[n-1]
	s.free = s.free[:n-1]
	b := s.slot(i)
	s.mu.Unlock()
	r.encode(b)
	stateOf(b).Store(uint32(r.state) + 1 | slotLayout | slotQuarters) // written last, so that a partly written slot is free
	return i
}

// mark changes the state of a slot.
func (s *slotFile) mark(i int32, state resState, won bool) {
	if s == nil || i < 0 {
		return
	}
	v := uint32(state) + 1
	if won {
		v |= slotWon
	}
	s.mu.Lock()
	x := stateOf(s.slot(i))
	x.Store(v | x.Load()&(slotLayout|slotQuarters))
	s.mu.Unlock()
}

// drop frees a slot.
func (s *slotFile) drop(i int32) {
	if s == nil || i < 0 {
		return
	}
	s.mu.Lock()
	stateOf(s.slot(i)).Store(0)
	s.free = append(s.free, i)
	s.mu.Unlock()
}

// forget removes visitors from all slots: the reservations stay, without the visitors'
// share in frequency caps. A slot that is being written is not looked at.
func (s *slotFile) forget(visitors map[rtb.Key]struct{}) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.free {
		b := s.slot(i)
		if _, ok := visitors[rtb.Key(b[24:40])]; ok {
			clear(b[8:])
		}
	}
	for i := range len(s.chunks) * slotsPerChunk {
		b := s.slot(int32(i))
		if stateOf(b).Load() == 0 {
			continue
		}
		if _, ok := visitors[rtb.Key(b[24:40])]; ok {
			clear(b[24:40])
			binary.LittleEndian.PutUint32(b[4:], slotSum(b))
		}
	}
}

// grow maps another chunk if few slots are free. It is called off the bid path.
func (s *slotFile) grow() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := len(s.chunks) * slotsPerChunk
	if len(s.free) >= leastFree || have >= s.most {
		return nil
	}
	offset := slotHeader + int64(have)*slotSize
	if _, err := s.file.WriteAt(make([]byte, slotsPerChunk*slotSize), offset); err != nil { // filled with zeros, because a mapped page must exist even on a full disk
		return fmt.Errorf("cannot extend reservations: %w", err)
	}
	if err := s.mapChunk(offset); err != nil {
		return fmt.Errorf("cannot map reservations: %w", err)
	}
	for i := have + slotsPerChunk - 1; i >= have; i-- {
		s.free = append(s.free, int32(i))
	}
	return nil
}

// close stores everything, so that the next run trusts the file after a power
// cut too.
func (s *slotFile) close(run string, unknown rtb.Second) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.unmap() // writes remain in the page cache, which Sync stores
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil {
		err = s.writeHeader(run, true, unknown)
	}
	return errors.Join(err, s.file.Close())
}
