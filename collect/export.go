package collect

import (
	"encoding/csv"
	"io"
	"strings"

	"rebound/rtb"
)

// Rebound keeps keyed hashes of e-mail addresses and phone numbers, which no other platform
// can match. An audience is therefore exported from the advertiser's own file of customers:
// the rows whose person is in the audience come out, hashed as the platform wants them.

// ExportFormats are the forms of an export of a file of customers.
var ExportFormats = []string{"google", "meta"}

// Exporter selects the rows of a file whose person is in an audience.
type Exporter struct {
	Keyring    *rtb.Keyring
	Advertiser string
	Country    string // of national phone numbers
	// Resolve returns the visitor to which an identifier is linked, In whether a visitor is
	// in the audience.
	Resolve func(rtb.Key) (rtb.Key, bool)
	In      func(visitor rtb.Key) bool
}

// Write reads a file as a list's job does and writes the selected rows as CSV: for meta
// email and phone, hashed without a plus sign; for google Email and Phone, hashed with it.
// A hash that the file holds is written as it is. It returns how many rows there were and
// how many were written.
func (x *Exporter) Write(out io.Writer, format string, body []byte, bad func(LineError)) (rows, written int, err error) {
	w := csv.NewWriter(out)
	head := []string{"email", "phone"}
	if format == "google" {
		head = []string{"Email", "Phone"}
	}
	if err := w.Write(head); err != nil {
		return 0, 0, err
	}
	r := &rowReader{keyring: x.Keyring, advertiser: x.Advertiser, country: x.Country}
	err = eachRow(body, func(line int, row map[string]string) error {
		rows++
		p, ok := r.person(row, func(e LineError) {
			e.Line = line
			bad(e)
		})
		if !ok || !x.selects(&p) {
			return nil
		}
		record := []string{hashed(row, "email", x.Country, false), hashed(row, "phone", x.Country, format == "google")}
		if record[0] == "" && record[1] == "" {
			return nil
		}
		written++
		return w.Write(record)
	}, bad)
	w.Flush()
	if err == nil {
		err = w.Error()
	}
	return rows, written, err
}

func (x *Exporter) selects(p *listPerson) bool {
	for _, k := range p.keys {
		v, ok := k.Key, true
		if k.KeyKind != "uid" {
			v, ok = x.Resolve(k.Key)
		}
		if ok && !v.IsZero() && x.In(v) {
			return true
		}
	}
	return false
}

// hashed returns the hash of one column, given or made.
func hashed(row map[string]string, col, country string, plus bool) string {
	if h, ok := hashText(row[col+"_sha256"]); ok {
		return h
	}
	value := strings.TrimSpace(row[col])
	if value == "" {
		return ""
	}
	if col == "email" {
		return sha256Hex(strings.ToLower(value))
	}
	if c, ok := rtb.ParseCountry(strings.TrimSpace(row["country"])); ok {
		country = c.String()
	}
	digits, ok := phoneDigits(value, country)
	switch {
	case !ok:
		return ""
	case plus:
		return sha256Hex("+" + digits)
	}
	return sha256Hex(digits)
}
