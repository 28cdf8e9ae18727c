package exchange

import "rebound/rtb"

// DecodeError is the reason why a request cannot be used. It is one byte, so
// returning it does not allocate.
type DecodeError uint8

// The reasons.
const (
	// ErrMalformed matches, by errors.Is, every error for which the request is
	// refused as malformed: HTTP 400, or the profile's malformed_status.
	ErrMalformed DecodeError = iota + 1
	ErrSyntax                // not one JSON text (RFC 8259)
	ErrUTF8                  // bytes that are not UTF-8
	ErrDepth                 // nested deeper than MaxDepth
	ErrNotObject             // the JSON text is not an object
	ErrNoID                  // id is missing, empty or not text (OpenRTB 2.6 §3.2.1)
	ErrNoImp                 // imp is missing, empty or not an array (OpenRTB 2.6 §3.2.1)

	// The others are well-formed requests that cannot be bid on: an ordinary no-bid.

	ErrTwoInventories // more than one of site, app and dooh (OpenRTB 2.6 §3.2.1)
	ErrNoInventory    // none of them, and the profile requires one
	ErrDuplicateImp   // two impressions with the same id (OpenRTB 2.6 §3.2.4)
	ErrNoUsableImp    // no impression has an id and a format (OpenRTB 2.6 §3.2.4)
)

var decodeErrors = [...]string{
	ErrMalformed:      "malformed request",
	ErrSyntax:         "invalid JSON",
	ErrUTF8:           "invalid UTF-8",
	ErrDepth:          "JSON nested too deep",
	ErrNotObject:      "got JSON that is not an object; want a bid request",
	ErrNoID:           "no request id",
	ErrNoImp:          "no impressions",
	ErrTwoInventories: "got more than one of site, app and dooh; want one",
	ErrNoInventory:    "got none of site, app and dooh; want one",
	ErrDuplicateImp:   "two impressions with the same id",
	ErrNoUsableImp:    "no impression with an id and a format",
}

// Error returns the error's text.
func (e DecodeError) Error() string {
	if int(e) >= len(decodeErrors) {
		return "unknown decode error"
	}
	return "cannot read bid request: " + decodeErrors[e]
}

// Is makes every error of a malformed request match [ErrMalformed].
func (e DecodeError) Is(target error) bool { return target == ErrMalformed && e.Malformed() }

// Malformed reports whether the response is the status for malformed requests
// rather than an ordinary no-bid.
func (e DecodeError) Malformed() bool { return e <= ErrNoImp }

// Reason returns the no-bid reason.
func (e DecodeError) Reason() rtb.NoBidReason {
	switch e {
	case ErrDuplicateImp:
		return rtb.NoBidDuplicateImp
	case ErrNoInventory:
		return rtb.NoBidInventory
	}
	return rtb.NoBidMalformed
}
