package audiences

import "rebound/internal/spec"

// Spec is one audience as a configuration file writes it.
type Spec struct {
	ID string `yaml:"id"`
	// Name is for people; it has no effect.
	Name string `yaml:"name"`
	// Advertiser owns the audience: only that advertiser's events count. May be
	// left out where there is one advertiser.
	Advertiser string `yaml:"advertiser"`
	// Recipe stands for the Include and Exclude of a common audience ([Recipes]).
	// An Exclude beside it is added to the recipe's.
	Recipe string `yaml:"recipe"`
	// TTL is how long a visitor stays after the last qualifying event, 1h to
	// 540d; 30d where absent.
	TTL     spec.Duration `yaml:"ttl"`
	Include Rule          `yaml:"include"`
	Exclude Rule          `yaml:"exclude"`
}

// Rule is one node: exactly one of All, Any, Event and Audience is set.
type Rule struct {
	All []Rule `yaml:"all"`
	Any []Rule `yaml:"any"`

	// Audience is true for visitors in that audience, of the same advertiser.
	Audience string `yaml:"audience"`

	// Event is a canonical event name, an alias of one, a custom name, or * for
	// any event. The other fields narrow it.
	Event string `yaml:"event"`
	// Within is the look-back, 1s to the audience's TTL (540d in Exclude); the
	// TTL where absent.
	Within spec.Duration `yaml:"within"`
	// NotWithin wants the latest event to be at least that old; 0 wants nothing.
	NotWithin spec.Duration `yaml:"not_within"`
	// MinCount is how many events must lie in Within, 1 to 16; 1 where absent.
	MinCount int         `yaml:"min_count"`
	Where    []Condition `yaml:"where"`
	// After is empty or "include" (in Exclude only): the event must not be
	// older than the last event that the Include counted.
	After string `yaml:"after"`
}

// Condition narrows an event by one field.
type Condition struct {
	// Field is one of [Fields].
	Field string `yaml:"field"`
	// Op is one of [Ops]; eq where absent.
	Op string `yaml:"op"`
	// Value is what Op compares with; in and not_in take a list.
	Value Values `yaml:"value"`
	// CS compares upper and lower case as they are; otherwise both are folded.
	CS bool `yaml:"cs"`
}

// Values is a YAML scalar or a list of scalars, as written.
type Values []string

// UnmarshalYAML reads a scalar or a list of scalars.
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
