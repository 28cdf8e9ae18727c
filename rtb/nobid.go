package rtb

import "fmt"

// NoBidReason is the reason why a request, an impression or a line got no bid.
// The same values are used by the counters, the bid records, the reports and nbr
// in the response. They are ordered by the stages of the decision: the reason of
// a request is the highest value that any of its lines reached.
type NoBidReason uint8

// The reasons, in the order of the decision's stages.
const (
	NoBidNone NoBidReason = iota

	// Request.
	NoBidError
	NoBidMalformed
	NoBidDuplicateImp
	NoBidUnauthorised
	NoBidThrottled
	NoBidOverloaded
	NoBidLate
	NoBidCrawler
	NoBidInvalidTraffic
	NoBidTestIgnored
	NoBidBlind
	NoBidPaused

	// Visitor.
	NoBidPrivacyCOPPA
	NoBidPrivacyGDPR
	NoBidPrivacyGPP
	NoBidPrivacyUSP
	NoBidPrivacyGPC
	NoBidPrivacyLMT
	NoBidPrivacyNPA
	NoBidPrivacyUnknownCountry
	NoBidNoID
	NoBidUnknownVisitor
	NoBidPrivacyOptedOut

	// Supply.
	NoBidNoCampaign
	NoBidSeatBlocked
	NoBidSiteBlocked
	NoBidSChain
	NoBidAdsTxt
	NoBidInventory

	// Audience.
	NoBidNoAudience
	NoBidAudienceExcluded

	// Reasons about a line and the supply.
	NoBidGeo
	NoBidDevice
	NoBidDaypart
	NoBidDealRequired

	// Offer.
	NoBidAdvertiserBlocked
	NoBidNoFormat
	NoBidSize
	NoBidMimes
	NoBidProtocol
	NoBidDuration
	NoBidAPI
	NoBidSecure
	NoBidLanguage
	NoBidAttribute
	NoBidCategory
	NoBidIURL
	NoBidCreativePending
	NoBidTooLarge
	NoBidRequiredField

	// Money.
	NoBidCurrency
	NoBidRateStale
	NoBidFrequency
	NoBidInFlight
	NoBidFloor
	NoBidPaced
	NoBidSameImpression
	NoBidBudget
	NoBidGrant

	NoBidReasons // the number of reasons; not a reason itself
)

type noBidWords struct {
	name string
	nbr  int // OpenRTB 3.0 no-bid reason code; 0: none
}

var noBidTable = [NoBidReasons]noBidWords{
	NoBidNone:                  {"", 0},
	NoBidError:                 {"error", 1},
	NoBidMalformed:             {"malformed", 2},
	NoBidDuplicateImp:          {"duplicate_imp", 2},
	NoBidUnauthorised:          {"unauthorised", 0},
	NoBidThrottled:             {"throttled", 0},
	NoBidOverloaded:            {"overloaded", 0},
	NoBidLate:                  {"late", 15},
	NoBidCrawler:               {"crawler", 3},
	NoBidInvalidTraffic:        {"invalid_traffic", 4},
	NoBidTestIgnored:           {"test_ignored", 0},
	NoBidBlind:                 {"blind", 0},
	NoBidPaused:                {"paused", 0},
	NoBidPrivacyCOPPA:          {"privacy_coppa", 0},
	NoBidPrivacyGDPR:           {"privacy_gdpr", 0},
	NoBidPrivacyGPP:            {"privacy_gpp", 0},
	NoBidPrivacyUSP:            {"privacy_usp", 0},
	NoBidPrivacyGPC:            {"privacy_gpc", 0},
	NoBidPrivacyLMT:            {"privacy_lmt", 0},
	NoBidPrivacyNPA:            {"privacy_npa", 0},
	NoBidPrivacyUnknownCountry: {"privacy_unknown_country", 0},
	NoBidNoID:                  {"no_id", 8},
	NoBidUnknownVisitor:        {"unknown_visitor", 8},
	NoBidPrivacyOptedOut:       {"privacy_opted_out", 0},
	NoBidNoCampaign:            {"no_campaign", 0},
	NoBidSeatBlocked:           {"seat_blocked", 0},
	NoBidSiteBlocked:           {"site_blocked", 7},
	NoBidSChain:                {"schain", 16},
	NoBidAdsTxt:                {"ads_txt", 12},
	NoBidInventory:             {"inventory", 0},
	NoBidNoAudience:            {"no_audience", 0},
	NoBidAudienceExcluded:      {"audience_excluded", 0},
	NoBidGeo:                   {"geo", 0},
	NoBidDevice:                {"device", 6},
	NoBidDaypart:               {"daypart", 0},
	NoBidDealRequired:          {"deal_required", 0},
	NoBidAdvertiserBlocked:     {"advertiser_blocked", 0},
	NoBidNoFormat:              {"no_format", 0},
	NoBidSize:                  {"size", 0},
	NoBidMimes:                 {"mimes", 0},
	NoBidProtocol:              {"protocol", 0},
	NoBidDuration:              {"duration", 0},
	NoBidAPI:                   {"api", 0},
	NoBidSecure:                {"secure", 0},
	NoBidLanguage:              {"language", 0},
	NoBidAttribute:             {"attribute", 0},
	NoBidCategory:              {"category", 0},
	NoBidIURL:                  {"iurl", 0},
	NoBidCreativePending:       {"creative_pending", 0},
	NoBidTooLarge:              {"too_large", 0},
	NoBidRequiredField:         {"required_field", 0},
	NoBidCurrency:              {"currency", 0},
	NoBidRateStale:             {"rate_stale", 0},
	NoBidFrequency:             {"frequency", 9},
	NoBidInFlight:              {"in_flight", 0},
	NoBidFloor:                 {"floor", 0},
	NoBidPaced:                 {"paced", 0},
	NoBidSameImpression:        {"same_impression", 0},
	NoBidBudget:                {"budget", 0},
	NoBidGrant:                 {"grant", 0},
}

// String returns the reason's name as metrics, records and reports use it.
func (r NoBidReason) String() string {
	if r >= NoBidReasons {
		return "error"
	}
	return noBidTable[r].name
}

// NBR returns the code for nbr in a response (OpenRTB 3.0, List: No-Bid Reason
// Codes), and 0 (unknown) for reasons that have no code of their own.
func (r NoBidReason) NBR() int {
	if r >= NoBidReasons {
		return 1
	}
	return noBidTable[r].nbr
}

// MarshalText returns the reason's name.
func (r NoBidReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses a reason's name.
func (r *NoBidReason) UnmarshalText(b []byte) error {
	for i := range noBidTable {
		if noBidTable[i].name == string(b) {
			*r = NoBidReason(i)
			return nil
		}
	}
	return fmt.Errorf("cannot read no-bid reason: got %q; want one of the names in docs/reference.md", b)
}
