package collect

// Reject says why an event, or a part of one, was not taken. The enum is
// closed: it is the code in the answer to a server and the label of the counter.
type Reject uint8

// The reasons.
const (
	RejectNone         Reject = iota
	RejectAdvertiser          // the advertiser is missing or unknown
	RejectOtherShop           // the event names another advertiser than its key's
	RejectJSON                // no JSON, or a field of the wrong type
	RejectNoEvent             // no event name
	RejectNoUser              // no user id
	RejectUserID              // a user id is too long or unreadable
	RejectHash                // em or ph is no SHA-256
	RejectClearText           // an e-mail address where none may be
	RejectTime                // the time cannot be read
	RejectTooOld              // more than 7 days ago
	RejectFuture              // more than 10 minutes ahead
	RejectCurrency            // no ISO 4217 code
	RejectPrice               // an item's price or quantity is no amount
	RejectValue               // the value is no amount
	RejectTooMany             // more than 200 items, 32 properties or 1,000 events
	RejectTooLong             // a text over its limit
	RejectConsent             // the visitor's signals refuse it
	RejectOptedOut            // the visitor's opt-out cookie is set
	RejectForged              // a cookie that we did not mint
	RejectBadQuery            // a query parameter that cannot be decoded
	RejectExchange            // the exchange is missing or unknown
	RejectExchangeUser        // the exchange's user id is empty, 0, too long or an unfilled macro
	RejectSource              // an eid of a source that is not listed; the event stands
	RejectNotStored           // the log did not take it
	RejectReasons             // how many there are; not a reason
)

var rejectNames = [RejectReasons]string{
	"", "advertiser", "other_advertiser", "bad_json", "no_event", "no_user", "bad_user_id", "bad_hash", "clear_text",
	"bad_time", "too_old", "future", "bad_currency", "bad_price", "bad_value", "too_many", "too_long", "consent",
	"opted_out", "forged_cookie", "bad_query", "exchange", "bad_exchange_user", "eid_source", "not_stored",
}

// String is the reason's code.
func (r Reject) String() string {
	if r >= RejectReasons {
		return ""
	}
	return rejectNames[r]
}

// Problem is one fault of an event. Msg says what was found and what is wanted;
// it never holds a user's identifier.
type Problem struct {
	Code Reject
	Msg  string
}
