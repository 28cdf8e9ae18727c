package collect

import (
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Input is a parsed event from any channel, before it becomes a fact. Texts are as sent;
// identifiers are checked.
type Input struct {
	Advertiser string // as sent; may be empty if the key identifies it
	Event      string // as sent; eventFact maps it to the canonical name
	EventID    string
	At         time.Time // zero means now
	Page, Ref  string
	User       User
	Items      []events.Item
	Value      rtb.Micros
	Currency   rtb.Currency
	OrderID    string
	Query      string
	Source     string // action_source
	Props      map[string]string
	UTM        map[string]string // instead of that of Page; nil: that of Page
	UserAgent  string            // of the visitor, if a server passes it on; never stored
	Consent    *ConsentText      // nil if the sender gave no signals

	// What became of the event, for the validator.
	status     Status
	unreadable bool // already counted
	problems   []Reject
	fact       events.Fact
}

// User contains the identifiers of the visitor of an event. Em and Ph are SHA-256 as 64
// lower-case hex digits; IFA is in lower case.
type User struct {
	UID string
	XID string
	IFA string
	Em  []string
	Ph  []string
	// EIDs are identifiers from third parties; Source is in lower case.
	EIDs []EID
}

// EID is an extended identifier (OpenRTB 2.6 §3.2.27).
type EID struct{ Source, ID string }

// ConsentText contains the privacy signals of a call, as sent.
type ConsentText struct {
	GDPR, TC, USPrivacy, GPP, GPPSID, NPA, GPC string
}
