package rtb

// Flag is a yes/no signal of a request that may also be missing or unreadable.
// Privacy treats Unreadable as the refusing answer.
type Flag uint8

// The states of a Flag.
const (
	Absent Flag = iota
	No
	Yes
	Unreadable
)

// Or is the more restrictive of two readings of the same privacy signal, where
// Yes restricts: Yes, then Unreadable, then No, then Absent.
func (f Flag) Or(g Flag) Flag {
	rank := [...]uint8{Absent: 0, No: 1, Unreadable: 2, Yes: 3}
	if rank[g] > rank[f] {
		return g
	}
	return f
}

// Signals are the privacy signals of one request, wherever its version of the
// protocol puts them; where two places disagree the more restrictive is here.
// Byte slices are views into the request.
type Signals struct {
	GDPR        Flag
	Consent     []byte // TCF string
	ConsentBad  bool   // a consent field was there and was no string
	USPrivacy   []byte // four characters, e.g. 1YNN
	USPBad      bool   // us_privacy was there and was no string
	GPP         []byte // Global Privacy Platform string
	GPPBad      bool   // gpp was there and was no string
	GPPSID      []int  // the sections that apply
	GPPSIDBad   bool   // gpp_sid was there and could not be read as integers
	GPC         Flag   // Global Privacy Control
	COPPA       Flag
	LMT         Flag   // device.lmt
	DNT         Flag   // device.dnt
	NPA         Flag   // any "not personalised" flag of the exchange (Google: npa, lgpd)
	Country     []byte // device.geo.country, else user.geo.country; as sent
	ExtUnread   bool   // regs or regs.ext was there and was not an object; user.ext can hide consent only, which restricts by itself
	AppliesDOOH bool   // a screen in public, never a person (OpenRTB 2.6 §3.2.32)
}

// Level says how much of a visitor a bid may use.
type Level uint8

// The levels, from the least.
const (
	LevelNone         Level = iota // no bid at all
	LevelContextual                // no identifier may be read, stored or looked up
	LevelPersonalised              // profile and identifiers may be used
)

// String is the level's name as bid records write it.
func (l Level) String() string {
	switch l {
	case LevelPersonalised:
		return "personalised"
	case LevelContextual:
		return "contextual"
	}
	return "none"
}

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name; anything unknown is LevelNone.
func (l *Level) UnmarshalText(b []byte) error {
	switch string(b) {
	case "personalised":
		*l = LevelPersonalised
	case "contextual":
		*l = LevelContextual
	default:
		*l = LevelNone
	}
	return nil
}

// Permissions is what privacy allows for one request.
type Permissions struct {
	Level Level
	// Refusal names the signal that held the level below personalised;
	// NoBidNone when it is personalised.
	Refusal NoBidReason
	// Signal is the kind of signal that decided: "tcf", "gpp", "usp", "coppa",
	// "lmt", "gpc", "npa", "country" or "none". A constant, never request text.
	Signal string
	// ConsentHash identifies the consent strings that were read, without being
	// one; 0 when there were none.
	ConsentHash uint64
	// PreciseGeo allows coordinates to be used as sent; without it they must be
	// cut to about a kilometre (TCF special feature 1).
	PreciseGeo bool
}
