package collect

import (
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Input is one event as the edge understood it, whichever way it came, before
// it becomes a fact. Texts are as sent; identifiers are checked.
type Input struct {
	Advertiser string // as named by the caller; empty where the key names it
	Event      string // as sent; canonical names are looked up later
	EventID    string
	At         time.Time // zero: now
	Page, Ref  string
	User       User
	Items      []events.Item
	Value      rtb.Micros
	Currency   rtb.Currency
	OrderID    string
	Query      string
	Source     string // action_source
	Props      map[string]string
	Consent    *ConsentText // nil: the caller said nothing
}

// User are the identifiers of an event's visitor. Em and Ph are SHA-256 as 64
// lower-case hex digits, IFA is in lower case.
type User struct {
	UID string
	XID string
	IFA string
	Em  []string
	Ph  []string
	// EIDs are identifiers of other parties' spaces; Source is in lower case.
	EIDs []EID
}

// EID is one identifier of another party's space (OpenRTB 2.6 §3.2.27).
type EID struct{ Source, ID string }

// ConsentText are the privacy signals of one call, as sent.
type ConsentText struct {
	GDPR, TC, USPrivacy, GPP, GPPSID, NPA, GPC string
}
