package audiences

import "rebound/internal/spec"

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
	Recipe string `yaml:"recipe" enum:"all_visitors,buyers,cart_abandoners,category_viewers,checkout_abandoners,email_clickers,email_openers,engaged_no_buy,lapsed_buyers,product_viewers,repeat_buyers,searchers,video_viewers,wishlisters"`
	// TTL is how long a visitor stays after the last qualifying event, 1h to
	// 540d; default 30d.
	TTL     spec.Duration `yaml:"ttl"`
	Include Rule          `yaml:"include"`
	Exclude Rule          `yaml:"exclude"`
}

// Rule is one node: exactly one of All, Any, Event and Audience is set.
type Rule struct {
	All []Rule `yaml:"all"`
	Any []Rule `yaml:"any"`

	// Audience is true for visitors in that audience, which must have the same
	// advertiser.
	Audience string `yaml:"audience"`

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
	MinCount int         `yaml:"min_count"`
	Where    []Condition `yaml:"where"`
	// After is empty or "include" (in Exclude only): the event must not be
	// older than the last event that Include counted.
	After string `yaml:"after" enum:"include"`
}

// Condition narrows an event by one field.
type Condition struct {
	// Field is what is compared.
	Field string `yaml:"field" enum:"url,url.host,url.path,url.query.<key>,ref.host,q,order_id,action_source,utm.source,utm.medium,utm.campaign,utm.term,utm.content,prop.<key>,value,item.id,item.category,item.brand,item.price"`
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
