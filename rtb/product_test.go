package rtb

import (
	"strings"
	"testing"
)

func TestFoldProductID(t *testing.T) {
	for id, want := range map[string]string{
		"SKU1": "sku1", " sku1\t": "sku1", "SKU\u00001\r\n": "sku1", "": "", "  ": "", "A  B": "a  b", "\u00c4b-1": "\u00e4b-1", "a\xff": "a",
		strings.Repeat("\u5c0b", 50):        strings.Repeat("\u5c0b", 50),
		strings.Repeat("\U0001F45F", 50):    strings.Repeat("\U0001F45F", 50),
		strings.Repeat("x", MaxProductID):   strings.Repeat("x", MaxProductID),
		strings.Repeat("x", 1+MaxProductID): "",
	} {
		if got := FoldProductID(id); got != want {
			t.Errorf("%q: got %q; want %q", id, got, want)
		}
		if got := FoldProductID(want); got != want {
			t.Errorf("%q: got %q the second time", want, got)
		}
	}
}
