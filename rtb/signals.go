package rtb

// Flag is a yes/no signal of a request that may also be absent or unreadable.
// An unreadable privacy signal counts as the more restrictive answer.
type Flag uint8

// The values of a Flag.
const (
	Absent Flag = iota
	No
	Yes
	Unreadable
)

// Or returns the more restrictive of two readings of the same privacy signal,
// where Yes restricts: Yes, then Unreadable, then No, then Absent.
func (f Flag) Or(g Flag) Flag {
	rank := [...]uint8{Absent: 0, No: 1, Unreadable: 2, Yes: 3}
	if rank[g] > rank[f] {
		return g
	}
	return f
}

// Signals are the privacy signals of one request, read from every location that
// a version of the protocol defines. If two locations disagree, the more
// restrictive value is kept. Byte slices are views into the request.
type Signals struct {
	GDPR        Flag
	Consent     []byte // TCF string
	ConsentBad  bool   // a consent field is present but not a string
	USPrivacy   []byte // four characters, e.g. 1YNN
	USPBad      bool   // us_privacy is present but not a string
	GPP         []byte // Global Privacy Platform string
	GPPBad      bool   // gpp is present but not a string
	GPPSID      []int  // the sections that apply
	GPPSIDBad   bool   // gpp_sid is present but not a list of integers
	GPC         Flag   // Global Privacy Control
	COPPA       Flag
	LMT         Flag   // device.lmt, or tracking not authorized in device.ext.atts
	DNT         Flag   // device.dnt
	NPA         Flag   // any "not personalised" flag of the exchange (Google: npa, lgpd)
	Country     []byte // device.geo.country, else user.geo.country; as sent
	ExtUnread   bool   // regs or regs.ext is present but not an object; user.ext can only hide consent, whose absence restricts anyway
	AppliesDOOH bool   // a digital out-of-home screen, never a person (OpenRTB 2.6 §3.2.32)
}

// Level is the extent to which a bid may use a visitor's data.
type Level uint8

// The levels, the most restrictive first.
const (
	LevelNone         Level = iota // no bid at all
	LevelContextual                // no identifier may be read, stored or looked up
	LevelPersonalised              // profile and identifiers may be used
)

// String returns the level's name as bid records write it.
func (l Level) String() string {
	switch l {
	case LevelPersonalised:
		return "personalised"
	case LevelContextual:
		return "contextual"
	}
	return "none"
}

// MarshalText returns the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText parses a level's name; an unknown name is LevelNone.
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

// Permissions holds the uses of data that the privacy signals of one request allow.
type Permissions struct {
	Level Level
	// Refusal is the reason why the level is below personalised, and NoBidNone
	// when it is personalised.
	Refusal NoBidReason
	// Signal is the kind of signal that decided: "tcf", "gpp", "usp", "coppa",
	// "lmt", "gpc", "npa", "country" or "none". A constant, never request text.
	Signal string
	// ConsentHash is a hash of the consent strings that were read; 0 if there
	// were none.
	ConsentHash uint64
	// PreciseGeo allows the use of exact coordinates. Without it they must be
	// truncated to about a kilometer (TCF special feature 1).
	PreciseGeo bool
}
