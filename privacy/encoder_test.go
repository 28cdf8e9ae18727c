package privacy

// This encoder of TCF and GPP strings shares no code with the parser. It writes
// fields in the order of the specifications, as texts of 0 and 1.

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// bitText collects bits as text.
type bitText struct{ strings.Builder }

func (b *bitText) int(width, value int) {
	for width--; width >= 0; width-- {
		b.WriteByte("01"[value>>width&1])
	}
}

func (b *bitText) bool(v bool) {
	if v {
		b.WriteString("1")
	} else {
		b.WriteString("0")
	}
}

// letters writes two capital letters of six bits each.
func (b *bitText) letters(s string) {
	b.int(6, int(s[0]-'A'))
	b.int(6, int(s[1]-'A'))
}

// base64 pads to a multiple of unit bits and writes characters.
func (b *bitText) base64(unit int) string {
	for b.Len()%unit != 0 {
		b.WriteByte('0')
	}
	for b.Len()%6 != 0 {
		b.WriteByte('0')
	}
	var out strings.Builder
	for s := b.String(); s != ""; s = s[6:] {
		n := 0
		for _, c := range s[:6] {
			n = n*2 + int(c-'0')
		}
		out.WriteByte(base64url[n])
	}
	return out.String()
}

// span is a range of vendors, both ends included.
type span struct{ first, last int }

// vendors is a set of vendors and its encoding.
type vendors struct {
	spans  []span
	ranges bool
	max    int // 0: the highest of the set
}

func (v vendors) has(id int) bool {
	return slices.ContainsFunc(v.spans, func(s span) bool { return s.first <= id && id <= s.last })
}

func (v vendors) highest() int {
	high := v.max
	for _, s := range v.spans {
		high = max(high, s.last)
	}
	return high
}

func (b *bitText) vendors(v vendors) {
	b.int(16, v.highest())
	b.bool(v.ranges)
	if v.ranges {
		b.spans(v.spans)
		return
	}
	field := bytes.Repeat([]byte("0"), v.highest())
	for _, s := range v.spans {
		for id := s.first; id <= s.last; id++ {
			field[id-1] = '1'
		}
	}
	b.Write(field)
}

func (b *bitText) spans(spans []span) {
	b.int(12, len(spans))
	for _, s := range spans {
		b.bool(s.first != s.last)
		b.int(16, s.first)
		if s.first != s.last {
			b.int(16, s.last)
		}
	}
}

// restriction is one publisher restriction.
type restriction struct {
	purpose, kind int
	spans         []span
}

// tcfSpec is the content of a TCF string.
type tcfSpec struct {
	version, gvl, policy int
	created, updated     int // tenths of a second since 1970; 0 is a time in 2023
	global               bool
	geo                  bool
	consent, interest    []int // purposes
	oneAway              bool
	cc                   string
	vendorConsent        vendors
	vendorInterest       vendors
	restrictions         []restriction
	disclosed            *vendors
	tail                 string // further segments, as text
	unit                 int    // bits to pad to: 8 or 6
}

func (t *tcfSpec) head(b *bitText) {
	b.int(6, t.version)
	b.int(36, cmp.Or(t.created, 17000000000))
	b.int(36, cmp.Or(t.updated, 17000000001))
	b.int(12, 10)
	b.int(12, 1)
	b.int(6, 1)
	b.letters("EN")
	b.int(12, t.gvl)
	b.int(6, t.policy)
}

func (t *tcfSpec) purposes(b *bitText) {
	b.bool(t.geo)
	b.int(11, 0)
	for _, set := range [][]int{t.consent, t.interest} {
		for p := 1; p <= 24; p++ {
			b.bool(slices.Contains(set, p))
		}
	}
}

func (t *tcfSpec) restrict(b *bitText) {
	b.int(12, len(t.restrictions))
	for _, r := range t.restrictions {
		b.int(6, r.purpose)
		b.int(2, r.kind)
		b.spans(r.spans)
	}
}

func (t *tcfSpec) segments(core string) string {
	if t.disclosed != nil {
		var d bitText
		d.int(3, 1)
		d.vendors(*t.disclosed)
		core += "." + d.base64(t.unit)
	}
	return core + t.tail
}

// String writes the European string.
func (t *tcfSpec) String() string {
	var b bitText
	t.head(&b)
	b.bool(!t.global)
	b.bool(false)
	t.purposes(&b)
	b.bool(t.oneAway)
	b.letters(t.cc)
	b.vendors(t.vendorConsent)
	b.vendors(t.vendorInterest)
	t.restrict(&b)
	return t.segments(b.base64(t.unit))
}

// Canada writes the Canadian string: no purpose one treatment, no country.
func (t *tcfSpec) Canada() string {
	var b bitText
	t.head(&b)
	b.bool(false)
	t.purposes(&b)
	b.vendors(t.vendorConsent)
	b.vendors(t.vendorInterest)
	t.restrict(&b)
	return t.segments(b.base64(t.unit))
}

// field is one kind of field of a US section, n times in a row.
type field struct {
	name  string
	width int
	n     int
}

// usFields are the fields of the US sections in the order of their specifications,
// without the leading version of six bits. Offsets follow from the order.
var usFields = map[int][]field{
	7:  usSection("SharingNotice SaleOptOutNotice SharingOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataProcessingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut TargetedAdvertisingOptOut Sensitive*12 KnownChild*2 PersonalDataConsents"),
	-7: usSection("SharingNotice SaleOptOutNotice SharingOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataProcessingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut TargetedAdvertisingOptOut Sensitive*16 KnownChild*3 PersonalDataConsents"),
	8:  usSection("SaleOptOutNotice SharingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut Sensitive*9 KnownChild*2 PersonalDataConsents"),
	9:  usState(8, 1, false),
	10: usState(7, 1, false),
	11: usSection("SharingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataProcessingOptOutNotice SaleOptOut TargetedAdvertisingOptOut Sensitive*8 KnownChild"),
	12: usState(8, 3, false),
	13: usState(8, 3, true),
	14: usState(8, 3, true),
	15: usState(11, 3, true),
	16: usState(8, 1, true),
	17: usState(9, 5, true),
	18: usSection("ProcessingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataOptOutNotice SaleOptOut TargetedAdvertisingOptOut Sensitive*8 KnownChild"),
	19: usState(8, 1, true),
	20: usState(8, 3, true),
	21: usState(10, 5, true),
	22: usState(8, 1, true),
	23: usState(8, 1, true),
	24: mspaFirst("AdditionalDataProcessingConsent"),
	25: mspaFirst("KnownChild AdditionalDataProcessingConsent"),
	26: mspaFirst("KnownChild AdditionalDataProcessingConsent"),
	27: mspaFirst("KnownChild AdditionalDataProcessingConsent"),
}

// usSection reads a list of two-bit fields; the three of the MSPA follow.
func usSection(names string) (fields []field) {
	for _, name := range strings.Fields(names + " MspaCoveredTransaction MspaOptOutOptionMode MspaServiceProviderMode") {
		f := field{name, 2, 1}
		if base, count, ok := strings.Cut(name, "*"); ok {
			f.name = base
			fmt.Sscan(count, &f.n)
		}
		fields = append(fields, f)
	}
	return fields
}

// usState is the layout that most states share.
func usState(sensitive, children int, additional bool) []field {
	names := "ProcessingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SaleOptOut TargetedAdvertisingOptOut"
	names += fmt.Sprintf(" Sensitive*%d KnownChild*%d", sensitive, children)
	if additional {
		names += " AdditionalDataProcessingConsent"
	}
	return usSection(names)
}

// mspaFirst is the layout of sections 24 to 27.
func mspaFirst(last string) (fields []field) {
	fields = append(fields, field{"MspaVersion", 6, 1})
	for _, name := range strings.Fields("MspaCoveredTransaction MspaMode ProcessingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SaleOptOut TargetedAdvertisingOptOut " + last) {
		fields = append(fields, field{name, 2, 1})
	}
	return fields
}

// fib writes a number in Fibonacci code.
func (b *bitText) fib(n int) {
	numbers := []int{1, 2}
	for numbers[len(numbers)-1] <= n {
		numbers = append(numbers, numbers[len(numbers)-1]+numbers[len(numbers)-2])
	}
	code, started := "", false
	for i := len(numbers) - 1; i >= 0; i-- {
		if numbers[i] <= n {
			n -= numbers[i]
			code = "1" + code
			started = true
		} else if started {
			code = "0" + code
		}
	}
	b.WriteString(code + "1")
}

// gppHeader writes the header for ids, as ranges where they follow each other.
func gppHeaderOf(ids []int, ranges bool) string {
	var b, items bitText
	last, n := 0, 0
	for i := 0; i < len(ids); n++ {
		j := i
		for ranges && j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		items.bool(j > i)
		items.fib(ids[i] - last)
		if j > i {
			items.fib(ids[j] - ids[i])
		}
		last, i = ids[j], j+1
	}
	b.int(6, 3)
	b.int(6, 1)
	b.int(12, n)
	b.WriteString(items.String())
	return b.base64(6)
}

// gppOf writes a whole GPP string.
func gppOf(sections map[int]string, ranges bool) string {
	var ids []int
	for id := range sections {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	s := gppHeaderOf(ids, ranges)
	for _, id := range ids {
		s += "~" + sections[id]
	}
	return s
}
