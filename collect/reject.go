package collect

// Reject is the reason why an event, or a part of one, was rejected. It is the code in the
// response to a server and the label of the counter.
type Reject uint8

// The reasons.
const (
	RejectNone            Reject = iota
	RejectAdvertiser             // the advertiser is missing or unknown
	RejectOtherAdvertiser        // the event names another advertiser than the one the key belongs to
	RejectJSON                   // invalid JSON, or a field of the wrong type
	RejectNoEvent                // no event name
	RejectNoUser                 // no user id
	RejectUserID                 // a user id is too long or invalid
	RejectHash                   // em or ph is not a SHA-256
	RejectClearText              // an e-mail address where none is allowed
	RejectTime                   // the time is invalid
	RejectTooOld                 // more than 7 days ago
	RejectFuture                 // more than 10 minutes ahead
	RejectCurrency               // not an ISO 4217 code
	RejectPrice                  // the price or quantity of an item is invalid
	RejectValue                  // the value is invalid
	RejectTooMany                // more than 200 items, 32 properties or 1,000 events
	RejectTooLong                // a text exceeds its limit
	RejectConsent                // the privacy signals of the visitor refuse it
	RejectOptedOut               // the visitor's opt-out cookie is set
	RejectForged                 // a visitor cookie that we did not mint
	RejectBadQuery               // a query parameter that cannot be decoded
	RejectExchange               // the exchange is missing or unknown
	RejectExchangeUser           // the exchange user id is empty, a placeholder, too long or an unexpanded macro
	RejectSource                 // an eid of an unlisted source; the event remains valid
	RejectPlaceholder            // a placeholder identifier; the event remains valid if it has another
	RejectRedirect               // a sync that leads to a host that is not listed
	RejectFreshLink              // an exchange user id that belongs to another visitor, who was seen with it recently
	RejectRobot                  // a call of a crawler or another robot
	RejectPrefetch               // a page that was fetched or rendered before the visitor asked for it
	RejectNotStored              // the log could not store it
	RejectReasons                // the number of reasons
)

var rejectNames = [RejectReasons]string{
	"", "advertiser", "other_advertiser", "bad_json", "no_event", "no_user", "bad_user_id", "bad_hash", "clear_text",
	"bad_time", "too_old", "future", "bad_currency", "bad_price", "bad_value", "too_many", "too_long", "consent",
	"opted_out", "forged_cookie", "bad_query", "exchange", "bad_exchange_user", "eid_source", "placeholder_id",
	"redirect", "fresher_link", "robot", "prefetch", "not_stored",
}

// String returns the code of the reason.
func (r Reject) String() string {
	if r >= RejectReasons {
		return ""
	}
	return rejectNames[r]
}

// Problem is an error in an event. Msg states what was found and what is expected; it never
// contains an identifier of a user.
type Problem struct {
	Code Reject
	Msg  string
}
