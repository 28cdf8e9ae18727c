package collect

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"rebound/events"
	"rebound/rtb"
)

// Columns of a row of a list. trait.<name> is a column too.
var listColumns = []string{"email", "email_sha256", "phone", "phone_sha256", "ifa", "uid", "xid", "uid2", "country"}

const (
	traitPrefix = "trait."
	maxTraits   = 16
)

// LineError says what is wrong with a line of an uploaded file.
type LineError struct {
	Line int    `json:"line"`
	Col  string `json:"col,omitempty"`
	Why  string `json:"why"`
	code string // counts the errors of one kind
}

// listPerson is a row of a list as it is stored.
type listPerson struct {
	keys   []events.LinkKey
	ids    []string // the kinds of identifiers that are valid, by column
	device string   // the text from which the visitor of the device is derived; empty without one
	uid    rtb.Key  // our own id, if the row has it
	traits map[string]string
}

// has reports whether the row has a kind of identifier.
func (p *listPerson) has(kind string) bool { return slices.Contains(p.ids, kind) }

// rowReader turns columns into persons.
type rowReader struct {
	keyring    *rtb.Keyring
	advertiser string
	country    string // of national phone numbers
	insecure   bool   // clear text came over an unencrypted connection and is refused
}

// person reads the columns of one row. Each identifier counts alone: one that is invalid is
// reported, and the row stands if another is valid.
func (r *rowReader) person(row map[string]string, bad func(LineError)) (p listPerson, ok bool) {
	country := r.country
	if c, ok := rtb.ParseCountry(strings.TrimSpace(row["country"])); ok {
		country = c.String()
	}
	empty := true
	for _, col := range slices.Sorted(maps.Keys(row)) {
		value := strings.TrimSpace(row[col])
		if value == "" || col == "country" {
			continue
		}
		if name, ok := strings.CutPrefix(col, traitPrefix); ok {
			p.trait(name, value, bad)
			continue
		}
		empty = false
		if e := r.column(&p, col, value, country); e != nil {
			e.Col = col
			bad(*e)
		}
	}
	if empty {
		bad(LineError{Why: "the row has no identifier", code: "empty"})
	}
	return p, len(p.keys) > 0
}

func (p *listPerson) trait(name, value string, bad func(LineError)) {
	switch {
	case hasEmail(value):
		bad(LineError{Col: traitPrefix + name, Why: "an e-mail address in a trait", code: "clear_text"})
	case len(name) > maxName || len(value) > maxText || len(p.traits) == maxTraits:
		bad(LineError{Col: traitPrefix + name, Why: "too many or too long traits: at most 16 of 256 bytes", code: "too_long"})
	default:
		if p.traits == nil {
			p.traits = map[string]string{}
		}
		p.traits[name] = sanitize(value, maxText)
	}
}

// column adds the identifier of one column.
func (r *rowReader) column(p *listPerson, col, value, country string) *LineError {
	add := func(kind string, space rtb.IDKind, scope, text string) {
		p.keys = append(p.keys, events.LinkKey{KeyKind: kind, Key: r.keyring.Key(space, scope, []byte(text))})
		if kind == "em" || kind == "ph" {
			col = kind
		}
		p.ids = append(p.ids, col)
		if kind == "ifa" || strings.HasPrefix(kind, "eid:") {
			p.device = kind + ":" + scope + ":" + text
		}
	}
	switch col {
	case "email", "phone":
		if r.insecure {
			return &LineError{Why: "clear text over http: use https, or send its SHA-256", code: "insecure"}
		}
	}
	switch col {
	case "email", "email_sha256":
		hashes, e := emailHashes(col, value)
		for _, h := range hashes {
			add("em", rtb.IDEmail, r.advertiser, h)
		}
		return e
	case "phone", "phone_sha256":
		hashes, e := phoneHashes(col, value, country)
		for _, h := range hashes {
			add("ph", rtb.IDPhone, r.advertiser, h)
		}
		return e
	case "ifa":
		text, ok := ifaText(value)
		if !ok {
			return &LineError{Why: "want a UUID that is not all zeros", code: "bad_ifa"}
		}
		add("ifa", rtb.IDIFA, "", text)
	case "uid2":
		if len(value) > maxID {
			return &LineError{Why: "want a raw UID2 of at most 128 bytes", code: "bad_uid2"}
		}
		add("eid:uidapi.com", rtb.IDEID, "uidapi.com", value)
	case "xid", "uid":
		if len(value) > maxID || hasEmail(value) || rtb.Nobody([]byte(value)) {
			return &LineError{Why: "want an id of at most 128 bytes that names no one by an e-mail address", code: "bad_" + col}
		}
		if col == "uid" {
			p.uid = r.keyring.Key(rtb.IDVisitor, "", []byte(value))
			p.keys, p.ids = append(p.keys, events.LinkKey{KeyKind: "uid", Key: p.uid}), append(p.ids, col)
			return nil
		}
		add("xid", rtb.IDXID, r.advertiser, value)
	}
	return nil
}

// emailHashes returns the hashes of an e-mail address: that which was given, or of clear
// text those of both normal forms, because pages and partners use either.
func emailHashes(col, value string) ([]string, *LineError) {
	if col == "email_sha256" {
		return givenHash(value)
	}
	std := strings.ToLower(strings.TrimSpace(value))
	if !hasEmail(std) || strings.ContainsAny(std, " \t,;<>") || strings.Count(std, "@") != 1 {
		return nil, &LineError{Why: "want an e-mail address", code: "bad_email"}
	}
	hashes := []string{sha256Hex(std)}
	if strict := strictEmail(std); strict != std {
		hashes = append(hashes, sha256Hex(strict))
	}
	return hashes, nil
}

// strictEmail returns the normal form of UID2: of a Gmail address without dots and without
// what follows a plus sign.
func strictEmail(std string) string {
	local, host, _ := strings.Cut(std, "@")
	if host != "gmail.com" {
		return std
	}
	local, _, _ = strings.Cut(local, "+")
	return strings.ReplaceAll(local, ".", "") + "@" + host
}

// phoneHashes returns the hashes of a phone number: that which was given, or of clear text
// those with and without the plus sign, because platforms use either.
func phoneHashes(col, value, country string) ([]string, *LineError) {
	if col == "phone_sha256" {
		return givenHash(value)
	}
	digits, ok := phoneDigits(value, country)
	if !ok {
		return nil, &LineError{Why: "want a number with + and country code, or a national one with a country", code: "bad_phone"}
	}
	return []string{sha256Hex("+" + digits), sha256Hex(digits)}, nil
}

func givenHash(value string) ([]string, *LineError) {
	if h, ok := hashText(value); ok && !rtb.Nobody([]byte(h)) {
		return []string{h}, nil
	}
	why := "want SHA-256 as 64 hex digits or 44 characters of base64"
	switch _, err := hex.DecodeString(value); {
	case err == nil && len(value) == 32:
		why = "md5 (32 hex): only sha256"
	case err == nil && len(value) == 40:
		why = "sha1 (40 hex): only sha256"
	case strings.Contains(value, "@"):
		why = "clear text: want its SHA-256, or the column without _sha256"
	}
	return nil, &LineError{Why: why, code: "not_sha256"}
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
