package events_test

import (
	"testing"

	"rebound/events"
	"rebound/rtb"
)

func TestKeySet(t *testing.T) {
	var keys rtb.Keyring
	ours, other := keys.Key(rtb.IDVisitor, "", []byte("a")), keys.Key(rtb.IDVisitor, "", []byte("b"))
	set := events.NewKeySet(ours, rtb.Key{})
	if len(set) != 1 {
		t.Fatalf("got %d keys; want 1: the zero key identifies no one", len(set))
	}
	for name, tc := range map[string]struct {
		text string
		in   bool
		want string
	}{
		"whole string":  {`{"visitor":"` + ours.String() + `"}`, true, `{"visitor":"0000000000000000000000"}`},
		"pseudonym":     {`{"id":"~rb~` + ours.String() + `"}`, true, `{"id":"~rb~0000000000000000000000"}`},
		"in a list":     {`["` + other.String() + `","` + ours.String() + `"]`, true, `["` + other.String() + `","0000000000000000000000"]`},
		"another":       {`{"visitor":"` + other.String() + `"}`, false, `{"visitor":"` + other.String() + `"}`},
		"not the end":   {`{"visitor":"` + ours.String() + `x"}`, false, `{"visitor":"` + ours.String() + `x"}`},
		"unquoted text": {ours.String(), false, ours.String()},
		"empty":         {``, false, ``},
	} {
		t.Run(name, func(t *testing.T) {
			b := []byte(tc.text)
			if got := set.In(b); got != tc.in {
				t.Errorf("In: got %v; want %v", got, tc.in)
			}
			n := set.Blank(b)
			if string(b) != tc.want || (n > 0) != tc.in {
				t.Errorf("Blank: got %s and %d; want %s", b, n, tc.want)
			}
		})
	}
}
