package reports

import "strings"

// word returns the number of a text of our own configuration. That of the empty text is 0.
func (t *step) word(text []byte) uint32 {
	if len(text) == 0 {
		return 0
	}
	if id, ok := t.st.words[string(text)]; ok {
		return id
	}
	return t.addWord(string(text))
}

// text is word for a string.
func (t *step) text(text string) uint32 {
	if text == "" {
		return 0
	}
	if id, ok := t.st.words[text]; ok {
		return id
	}
	return t.addWord(text)
}

func (t *step) addWord(text string) uint32 {
	id := uint32(len(t.st.texts))
	t.st.words[text] = id
	t.st.texts = append(t.st.texts, text)
	return id
}

// maxWords bounds the texts from outside that are told apart: requests may name any number
// of domains. Further ones count as otherWord.
const (
	maxWords  = 500_000
	otherWord = "(other)"
)

// cleaned is word for a text that it makes safe.
func (t *step) cleaned(text []byte) uint32 {
	if len(text) <= maxText && classOf(text)&classClean != 0 {
		return t.word(text)
	}
	return t.text(clean(string(text)))
}

// outside returns the number of a text from outside, which it makes safe and of a class.
func (t *step) outside(text []byte, want byte) uint32 {
	if len(text) == 0 {
		return 0
	}
	if class := classOf(text); len(text) > maxText || class&want == 0 {
		text = t.convert(text, class, want)
	}
	if id, ok := t.st.words[string(text)]; ok {
		return id
	}
	if len(t.st.texts) >= t.s.o.words {
		return t.text(otherWord)
	}
	return t.addWord(string(text))
}

// convert makes a text safe and converts its letters to the case of want. The result is valid
// until the next call.
func (t *step) convert(text []byte, class, want byte) []byte {
	if len(text) <= maxText && class&classClean != 0 {
		t.converted = append(t.converted[:0], text...)
		for i, b := range t.converted { // want is classLower or classUpper
			if classes[b]&want == 0 {
				t.converted[i] = b ^ ('a' ^ 'A')
			}
		}
		return t.converted
	}
	safe := clean(string(text))
	switch want {
	case classLower:
		safe = strings.ToLower(safe)
	case classUpper:
		safe = strings.ToUpper(safe)
	}
	return []byte(safe)
}

// Classes of characters. Most texts consist of characters that need no change.
const (
	classClean = 1 << iota // printable ASCII
	classLower             // the same without upper-case letters
	classUpper             // the same without lower-case letters
)

var classes = func() (c [256]byte) {
	for b := '!'; b < 0x7f; b++ {
		c[b] = classClean | classLower | classUpper
	}
	for b := 'a'; b <= 'z'; b++ {
		c[b], c[b-'a'+'A'] = classClean|classLower, classClean|classUpper
	}
	return c
}()

// classOf returns the classes that all characters of a text have in common.
func classOf(text []byte) byte {
	all := byte(classClean | classLower | classUpper)
	for _, b := range text {
		all &= classes[b]
	}
	return all
}

// maxAgents bounds the user agents whose browser is remembered.
const maxAgents = 4096

// browser returns the number of a user agent's browser.
func (t *step) browser(agent []byte) uint32 {
	if id, ok := t.agents[string(agent)]; ok {
		return id
	}
	if len(t.agents) >= maxAgents {
		clear(t.agents)
	}
	id := t.text(browserOf(string(agent)))
	t.agents[string(agent)] = id
	return id
}

// maxText bounds a value of a dimension that comes from outside, in bytes.
const maxText = 128

// clean makes a text from outside safe as a value of a dimension.
func clean(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}

// hostOf returns the host of a page's URL.
func hostOf(page string) string {
	_, rest, ok := strings.Cut(page, "://")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		rest = rest[:i]
	}
	return strings.ToLower(clean(rest))
}
