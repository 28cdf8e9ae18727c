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
	RejectOptedOut               // the visitor, or an identifier of the event, has opted out
	RejectForged                 // a visitor cookie that we did not mint
	RejectBadQuery               // a query parameter that cannot be decoded
	RejectExchange               // the exchange is missing or unknown
	RejectExchangeUser           // the exchange user id is empty, a placeholder, too long or an unexpanded macro
	RejectSource                 // an eid of an unlisted source; the event remains valid
	RejectPlaceholder            // a placeholder identifier; the event remains valid if it has another
	RejectRedirect               // a sync that leads to a host that is not listed
	RejectFreshLink              // an exchange user id that belongs to another visitor, who was seen with it recently
	RejectVisitorFlood           // more events of one visitor than the limit allows
	RejectAddressFlood           // more calls from one IP address than the limit allows
	RejectAdvertiserFlood        // more events for one advertiser than the limit allows
	RejectRobot                  // a call of a crawler or another robot
	RejectPrefetch               // a page that was fetched or rendered before the visitor asked for it
	RejectNotStored              // the log could not store it
	RejectReasons                // the number of reasons
)

var rejectNames = [RejectReasons]string{
	"", "advertiser", "other_advertiser", "bad_json", "no_event", "no_user", "bad_user_id", "bad_hash", "clear_text",
	"bad_time", "too_old", "future", "bad_currency", "bad_price", "bad_value", "too_many", "too_long", "consent",
	"opted_out", "forged_cookie", "bad_query", "exchange", "bad_exchange_user", "eid_source", "placeholder_id",
	"redirect", "fresher_link", "flood_visitor", "flood_address", "flood_advertiser", "robot", "prefetch", "not_stored",
}

// remedies say how to mend each problem.
var remedies = [RejectReasons]string{
	RejectAdvertiser:      "set a (or advertiser) to the id of an advertiser in the configuration",
	RejectOtherAdvertiser: "send the event with the key of its advertiser, or leave the advertiser out",
	RejectJSON:            "send one JSON object for each event, with fields of the types that docs/http.md names",
	RejectNoEvent:         "name the event (e of the pixel, event of JSON)",
	RejectNoUser:          "send one of user.uid, xid, em, ph, ifa or eids; em and ph as SHA-256",
	RejectUserID:          "send the id as the shop knows it, at most 128 bytes; ifa as a UUID that is not all zero",
	RejectHash:            "send the SHA-256 of the trimmed, lower-case address (telephone number with country code), as 64 hex digits or base64",
	RejectClearText:       "remove the e-mail address from this field, or from the URL of the page; send its SHA-256 as em. It was not stored",
	RejectTime:            "send ts in seconds since 1970 or as RFC 3339",
	RejectTooOld:          "send events within 7 days",
	RejectFuture:          "correct the clock of the sender; leave ts out for now",
	RejectCurrency:        "send an ISO 4217 code such as EUR",
	RejectPrice:           "send prices and quantities as decimal numbers with a point, without currency and thousands separators",
	RejectValue:           "send the value as a decimal number with a point, without currency and thousands separators",
	RejectTooMany:         "send at most 200 items, 32 properties and 1,000 events (100 from a browser) at once",
	RejectTooLong:         "shorten the field: names 64 bytes, ids 128, texts 256",
	RejectConsent:         "nothing, if the visitor refused. Else pass their signals on (gdpr, gdpr_consent, us_privacy, gpp, gpp_sid), and check privacy.vendor_id and privacy.unknown_country",
	RejectOptedOut:        "nothing: the visitor does not want it",
	RejectForged:          "nothing: the cookie is not ours, or keys.json was replaced; the visitor gets a new one",
	RejectBadQuery:        "percent-encode the parameters (encodeURIComponent)",
	RejectExchange:        "set ex to the id of an exchange in the configuration",
	RejectExchangeUser:    "have the exchange replace its macro in the match URL (match_macro)",
	RejectSource:          "list the source under identity.eids, or do not send it",
	RejectPlaceholder:     "send the field only if the visitor is known: values such as 0, null and undefined are not ids",
	RejectRedirect:        "list the host under redirect_hosts of the exchange, or under domains of the advertiser",
	RejectFreshLink:       "nothing, if someone sends user ids that are not theirs. Else start the sync from /v1/sync, whose nonce proves it",
	RejectVisitorFlood:    "find the page that repeats the event; collect.events_per_visitor is the limit",
	RejectAddressFlood:    "list your proxies under listen.trusted_proxies, if these are many visitors behind one; collect.calls_per_address is the limit",
	RejectAdvertiserFlood: "raise collect.events_per_advertiser, if the traffic is real",
	RejectRobot:           "nothing: robots are no visitors",
	RejectPrefetch:        "nothing: the event counts when the visitor opens the page, for which the tag must run again",
	RejectNotStored:       "nothing: the log had no capacity; see the alarms of the journal",
}

// Remedy returns what to do about the problem.
func (r Reject) Remedy() string {
	if r >= RejectReasons {
		return ""
	}
	return remedies[r]
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
