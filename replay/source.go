package replay

import (
	"fmt"
	"strings"

	"rebound/events"
)

// Source reads one format of recorded traffic, line by line. A new source is an entry of
// Sources; docs/replay.md describes how to add one.
type Source struct {
	Name string
	// Detect reports whether a file whose first line is this one has the format.
	Detect func(line []byte) bool
	// Record reads a line of a file of bids; it keeps nothing of the line.
	Record func(line []byte) (*events.BidRecord, error)
	// Fact reads a line of a file of notices; nil: the format has none.
	Fact func(line []byte) (*events.Fact, error)
	// SilentLosses is set if the notices name the won bids only: the others lost.
	SilentLosses bool
}

// Sources are the formats other than Rebound's own, which is used where none detects a file.
var Sources = []Source{
	{Name: "ipinyou", Detect: isIPinYou, Record: iPinYouRecord, Fact: iPinYouFact, SilentLosses: true},
}

// SourceOf returns the source of a format: auto detects it from the first line. nil stands
// for Rebound's own format, whose reader also reads bare OpenRTB requests.
func SourceOf(format string, firstLine []byte) (*Source, error) {
	var names []string
	for i := range Sources {
		s := &Sources[i]
		if format == s.Name || format == "auto" && s.Detect(firstLine) {
			return s, nil
		}
		names = append(names, s.Name)
	}
	switch format {
	case "auto", "rebound", "openrtb":
		return nil, nil
	}
	return nil, fmt.Errorf("cannot use --format: got %q; want auto, rebound, openrtb or %s", format, strings.Join(names, ", "))
}
