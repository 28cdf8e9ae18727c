package journal

import "time"

// Stats is the log's state at one moment.
type Stats struct {
	Stream      string // the stream's id
	First, Last uint64 // the sequences that the stream holds
	Bytes       uint64 // of the stream

	Append       Histogram // of Append, in seconds
	AppendErrors uint64
	LastError    string    // of the last Append that failed; empty when none did
	LastErrorAt  time.Time // zero when none did
	// FailingSince is when appending began to fail; zero while it works.
	FailingSince time.Time

	Spooled   uint64 // facts that wait in the spool
	Healed    uint64 // facts appended again from the archive since Open
	Archived  uint64 // the last sequence in the archive
	DiskFree  uint64 // bytes; 0 when unknown, 1 when there is none
	DiskLow   bool   // DiskFree is below Options.MinFreeBytes
	ArchiveOK bool   // the archiver is at work
	Restarts  uint64 // of the embedded server, because it took no facts
	Views     []ViewStats
}

// ViewStats says how far a followed view is behind the log.
type ViewStats struct {
	Name string
	Seq  uint64        // last applied
	Lag  uint64        // facts that are not applied yet
	Age  time.Duration // how long the oldest of them waits; 0 when Lag is 0
	// LostFacts are those that the view was carried past because neither the
	// stream nor the archive holds them. It is remembered over restarts.
	LostFacts uint64
}

// Histogram counts durations. Counts[i] are those of at most Bounds[i] seconds
// and above Bounds[i-1]; the last count is of those above every bound.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64 // seconds
	Count  uint64
}

// Blind names the first reason for which a bidder that relies on this log must
// not bid; empty when there is none. maxLag bounds the age of what a view has
// not folded.
func (s *Stats) Blind(maxLag time.Duration) string {
	if !s.FailingSince.IsZero() {
		return "log is not writable"
	}
	if s.DiskLow {
		return "disk is nearly full"
	}
	for i := range s.Views {
		if s.Views[i].Age > maxLag {
			return "view " + s.Views[i].Name + " is behind the log"
		}
	}
	return ""
}
