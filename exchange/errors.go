package exchange

import "rebound/rtb"

// DecodeError says why a request cannot be used. It is one byte, so returning
// it allocates nothing.
type DecodeError uint8

// What can be wrong with a request.
const (
	// ErrMalformed matches, by errors.Is, every error after which the request
	// is refused as unreadable: HTTP 400, or the profile's malformed_status.
	ErrMalformed DecodeError = iota + 1
	ErrSyntax                // not one JSON text (RFC 8259)
	ErrUTF8                  // bytes that are not UTF-8
	ErrDepth                 // nested deeper than MaxDepth
	ErrNotObject             // the JSON text is no object
	ErrNoID                  // id is missing, empty or not text (OpenRTB 2.6 §3.2.1)
	ErrNoImp                 // imp is missing, empty or no array (OpenRTB 2.6 §3.2.1)

	// The rest are readable requests that no bid may answer: an ordinary no-bid.

	ErrTwoInventories // more than one of site, app and dooh (OpenRTB 2.6 §3.2.1)
	ErrNoInventory    // none of them, and the profile wants one
	ErrDuplicateImp   // two impressions with the same id (OpenRTB 2.6 §3.2.4)
	ErrNoUsableImp    // no impression has an id and a format (OpenRTB 2.6 §3.2.4)
)

var decodeErrors = [...]string{
	ErrMalformed:      "malformed request",
	ErrSyntax:         "invalid JSON",
	ErrUTF8:           "invalid UTF-8",
	ErrDepth:          "JSON nested too deep",
	ErrNotObject:      "got no JSON object; want a bid request",
	ErrNoID:           "no request id",
	ErrNoImp:          "no impressions",
	ErrTwoInventories: "got more than one of site, app and dooh; want one",
	ErrNoInventory:    "got none of site, app and dooh; want one",
	ErrDuplicateImp:   "two impressions with one id",
	ErrNoUsableImp:    "no impression with an id and a format",
}

// Error is the error's text.
func (e DecodeError) Error() string {
	if int(e) >= len(decodeErrors) {
		return "unknown decode error"
	}
	return "cannot read bid request: " + decodeErrors[e]
}

// Is makes every refusing error match [ErrMalformed].
func (e DecodeError) Is(target error) bool { return target == ErrMalformed && e.Malformed() }

// Malformed tells whether the request is answered with the status for
// unreadable requests, rather than with an ordinary no-bid.
func (e DecodeError) Malformed() bool { return e <= ErrNoImp }

// Reason is the no-bid reason to count.
func (e DecodeError) Reason() rtb.NoBidReason {
	switch e {
	case ErrDuplicateImp:
		return rtb.NoBidDuplicateImp
	case ErrNoInventory:
		return rtb.NoBidInventory
	}
	return rtb.NoBidMalformed
}
