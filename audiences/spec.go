package audiences

import (
	"rebound/internal/spec"
	"rebound/rtb"
)

// Spec is one audience as a configuration file writes it.
type Spec struct {
	ID string `yaml:"id"`
	// Name is a label without effect.
	Name string `yaml:"name"`
	// Advertiser owns the audience: only events of that advertiser count. It
	// may be left out if there is only one advertiser.
	Advertiser string `yaml:"advertiser"`
	// Recipe provides the Include and Exclude of a common audience ([Recipes]).
	// An Exclude is added to that of the recipe.
	Recipe string `yaml:"recipe" enum:"all_visitors,app_users,buyers,campaign_visitors,cart_abandoners,category_viewers,checkout_abandoners,crm,cross_sell,customers,email_clickers,email_openers,engaged_no_buy,high_value,keyword_readers,lapsed_buyers,landing_from_ad,product_viewers,prospects,renewals,repeat_buyers,searchers,segment_members,upsell,video_viewers,wishlisters"`
	// With are the parameters of the recipe; which ones it takes and requires is
	// listed with the recipes.
	With With `yaml:"with"`
	// TTL is how long a visitor stays after the last qualifying event, 1h to
	// 540d; default 30d.
	TTL     spec.Duration `yaml:"ttl"`
	Include Rule          `yaml:"include"`
	Exclude Rule          `yaml:"exclude"`

	// Currency is the advertiser's, in which MinValue is; the caller of Compile sets it.
	Currency rtb.Currency `yaml:"-"`
}

// With are the parameters of a recipe.
type With struct {
	// Category is a category path; the recipe counts events with an item under it.
	Category string `yaml:"category"`
	// List is the list of the recipe crm.
	List string `yaml:"list"`
	// MinValue is the least total value of the purchases, in the advertiser's currency.
	MinValue rtb.Micros `yaml:"min_value"`
	// After is the least age of the purchase, of upsell, cross_sell and lapsed_buyers.
	After spec.Duration `yaml:"after"`
	// Keywords are the keywords of the recipe keyword_readers.
	Keywords Values `yaml:"keywords"`
	// Segment is the bought segment of the recipe segment_members.
	Segment RequestSegment `yaml:"segment"`
}

// Rule is one node: exactly one of All, Any, Event, List, Audience and the fields
// about the request is set.
type Rule struct {
	All []Rule `yaml:"all"`
	Any []Rule `yaml:"any"`

	// Audience is true for visitors in that audience, which must have the same
	// advertiser.
	Audience string `yaml:"audience"`

	// List is true for visitors on that list of the advertiser, or with * on any of
	// its lists. Where narrows it by traits (trait.<name>), Within and NotWithin by
	// the time since the visitor's row was uploaded; Within is 540d by default.
	List string `yaml:"list"`

	// RequestKeyword is true if the request has one of the keywords.
	RequestKeyword Values `yaml:"request.keyword"`
	// RequestSegment is true if the request's user.data has the segment.
	RequestSegment RequestSegment `yaml:"request.segment"`
	// RequestGeo is true if the device is in one of the countries (ISO 3166-1).
	RequestGeo Values `yaml:"request.geo"`
	// RequestCat is true if the site or app has one of the content categories, or
	// one below it (IAB1 includes IAB1-2).
	RequestCat Values `yaml:"request.cat"`

	// Event is a canonical event name, an alias of one, a custom name, or * for
	// any event. The other fields narrow it.
	Event string `yaml:"event"`
	// Within is the look-back, 1s to the audience's TTL (540d in Exclude);
	// default the TTL.
	Within spec.Duration `yaml:"within"`
	// NotWithin is the minimum age of the latest event; default 0.
	NotWithin spec.Duration `yaml:"not_within"`
	// MinCount is how many events must have happened within Within, 1 to 16;
	// default 1.
	MinCount int `yaml:"min_count"`
	// MinValue is the least total value of the events within Within, in the
	// advertiser's currency. The days of UTC on which Within begins count as a whole;
	// the last 64 days with a value are kept.
	MinValue rtb.Micros  `yaml:"min_value"`
	Where    []Condition `yaml:"where"`
	// After is empty or "include" (in Exclude only): the event must not be
	// older than the last event that Include counted.
	After string `yaml:"after" enum:"include"`
}

// RequestSegment is a bought or shared segment in user.data of a request.
type RequestSegment struct {
	// Provider is data.id or data.name of the segment's provider; any if empty.
	Provider string `yaml:"provider"`
	// SegTax is the taxonomy of the segment (data.ext.segtax); any if 0.
	SegTax int `yaml:"segtax"`
	// ID is the id of the segment, or a list of ids of which one is enough.
	ID Values `yaml:"id"`
}

func (s *RequestSegment) empty() bool { return s.Provider == "" && s.SegTax == 0 && s.ID == nil }

// Condition narrows an event by one field.
type Condition struct {
	// Field is what is compared. A list takes trait.<name> only, an event the others.
	Field string `yaml:"field" enum:"url,url.host,url.path,url.query.<key>,ref.host,q,order_id,action_source,utm.source,utm.medium,utm.campaign,utm.term,utm.content,prop.<key>,geo.country,device.type,trait.<key>,value,item.id,item.category,item.brand,item.price"`
	// Op is how it is compared; default eq.
	Op string `yaml:"op" enum:"eq,neq,in,not_in,contains,not_contains,prefix,suffix,regex,exists,gt,gte,lt,lte,under"`
	// Value is the operand with which Op compares the field; in and not_in take a list.
	Value Values `yaml:"value"`
	// CS makes the comparison case-sensitive.
	CS bool `yaml:"cs"`
}

// Values is a YAML scalar or list of scalars.
type Values []string

// UnmarshalYAML decodes a scalar or a list of scalars.
func (v *Values) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*v = Values{one}
		return nil
	}
	var many []string
	if err := unmarshal(&many); err != nil {
		return err
	}
	*v = many
	return nil
}
