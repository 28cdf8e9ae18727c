package replay

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// The columns of iPinYou's logs of seasons 2 and 3. A bid log has those up to the user
// tags, without a log type; the logs of impressions, clicks and conversions have all.
const (
	pinBidID = iota
	pinTime
	pinType // 1 impression, 2 click, 3 conversion
	pinUser
	pinAgent
	pinIP
	pinRegion
	pinCity
	pinExchange
	pinDomain
	pinURL
	pinAnonymousURL
	pinSlot
	pinWidth
	pinHeight
	pinVisibility
	pinFormat
	pinFloor
	pinCreative
	pinBid
	pinPaying
	pinKeyPage
	pinAdvertiser
	pinTags
	pinColumns
)

// pinBidColumns is the number of columns of a bid log: it has no log type, paying price
// and key page.
const pinBidColumns = pinColumns - 3

// PinExchange is the exchange of iPinYou's records.
const PinExchange = "ipinyou"

// pinZone is the time zone of the logs, which has no daylight saving time.
var pinZone = time.FixedZone("CST", 8*3600)

func isIPinYou(line []byte) bool {
	if len(line) == 0 {
		return false
	}
	n := len(pinFields(line))
	return line[0] != '{' && (n == pinBidColumns || n == pinColumns)
}

// pinFields splits a line at its tabs. The tags, which come last, may be empty, and the
// tab before them may have been trimmed.
func pinFields(line []byte) []string {
	fields := strings.Split(strings.TrimRight(string(line), "\r\n"), "\t")
	if n := len(fields); n == pinBidColumns-1 || n == pinColumns-1 {
		fields = append(fields, "")
	}
	return fields
}

// pinLine splits a line. Missing columns are empty.
func pinLine(line []byte) (c [pinColumns]string, err error) {
	fields := pinFields(line)
	switch len(fields) {
	case pinColumns:
		copy(c[:], fields)
	case pinBidColumns:
		copy(c[:pinType], fields)
		copy(c[pinUser:], fields[pinType:pinType+pinBid-pinUser+1])
		copy(c[pinAdvertiser:], fields[pinBidColumns-2:])
	default:
		return c, fmt.Errorf("cannot read iPinYou line: got %d columns; want %d in a bid log or %d in a log of impressions, clicks or conversions", len(fields), pinBidColumns, pinColumns)
	}
	for i := range c {
		if c[i] = strings.TrimSpace(c[i]); c[i] == "null" || c[i] == "Null" {
			c[i] = ""
		}
	}
	return c, nil
}

// pinPrice reads a price in fen, a hundredth of a yuan, per thousand impressions.
func pinPrice(name, text string) (rtb.CPM, error) {
	if text == "" {
		return 0, nil
	}
	fen, err := strconv.ParseFloat(text, 64)
	if err != nil || !(fen >= 0 && fen <= 1e6) {
		return 0, fmt.Errorf("cannot read %s: got %q; want fen per thousand impressions, from 0 to 1000000", name, text)
	}
	return rtb.CPM(fen * 10_000), nil
}

func pinStamp(text string) (time.Time, error) {
	if len(text) != 17 {
		return time.Time{}, fmt.Errorf("cannot read timestamp: got %q; want yyyyMMddHHmmssSSS", text)
	}
	t, err := time.ParseInLocation("20060102150405.000", text[:14]+"."+text[14:], pinZone)
	if err != nil {
		return t, fmt.Errorf("cannot read timestamp: got %q; want yyyyMMddHHmmssSSS: %w", text, err)
	}
	return t.UTC(), nil
}

// pinID returns the bid id; the logs have 128 bits in hexadecimal digits.
func pinID(text string) (id rtb.BidID) {
	if b, err := hex.DecodeString(text); err == nil && len(b) == len(id) {
		copy(id[:], b)
		return id
	}
	for i, part := range []uint64{hashOf(text), hashOf(text, "second")} {
		for k := range 8 {
			id[8*i+k] = byte(part >> (8 * k))
		}
	}
	return id
}

// iPinYouRecord reads a line of a bid log, or of an impression log, whose record has the
// paying price as its market.
func iPinYouRecord(line []byte) (*events.BidRecord, error) {
	c, err := pinLine(line)
	if err != nil {
		return nil, err
	}
	if c[pinType] != "" && c[pinType] != "1" {
		return nil, fmt.Errorf("cannot read iPinYou line: got log type %s in a file of bids; want bids or impressions, and clicks and conversions as --facts", c[pinType])
	}
	at, err := pinStamp(c[pinTime])
	if err != nil {
		return nil, err
	}
	var prices [3]rtb.CPM
	for i, p := range []struct{ name, text string }{{"floor", c[pinFloor]}, {"bid price", c[pinBid]}, {"paying price", c[pinPaying]}} {
		if prices[i], err = pinPrice(p.name, p.text); err != nil {
			return nil, err
		}
	}
	floor, bid, paying := prices[0], prices[1], prices[2]
	request, err := pinRequest(&c, floor)
	if err != nil {
		return nil, err
	}
	id := pinID(c[pinBidID])
	rec := &events.BidRecord{V: 1, BidID: id, TS: at, Exchange: PinExchange, SampleWeight: 1, Request: request}
	rec.Decision = &events.Decision{Bids: []events.DecisionBid{{BidID: id, ImpID: "1", Advertiser: c[pinAdvertiser], Creative: c[pinCreative], Price: bid,
		Factors: events.Factors{Floor: floor}}}}
	if c[pinType] == "1" {
		rec.Market = map[string]events.Market{"1": {MinToWin: max(paying, floor)}}
	}
	return rec, nil
}

// pinRequest returns the OpenRTB request of a line.
func pinRequest(c *[pinColumns]string, floor rtb.CPM) ([]byte, error) {
	w, errW := strconv.Atoi(c[pinWidth])
	h, errH := strconv.Atoi(c[pinHeight])
	if errW != nil || errH != nil || w < 1 || h < 1 || w > 10_000 || h > 10_000 {
		return nil, fmt.Errorf("cannot read slot size: got %q by %q; want pixels", c[pinWidth], c[pinHeight])
	}
	type object = map[string]any
	imp := object{"id": "1", "banner": object{"w": w, "h": h, "pos": pinPosition(c[pinVisibility])}, "bidfloor": json.Number(floor.String()), "bidfloorcur": "CNY"}
	if c[pinSlot] != "" {
		imp["tagid"] = c[pinSlot]
	}
	if c[pinFormat] == "1" || strings.EqualFold(c[pinFormat], "pop") {
		imp["instl"] = 1
	}
	site := object{}
	for name, text := range map[string]string{"domain": c[pinDomain], "page": c[pinURL], "id": c[pinAnonymousURL]} {
		if text != "" {
			site[name] = text
		}
	}
	device := object{"ua": c[pinAgent], "ip": strings.ReplaceAll(c[pinIP], "*", "0"), "geo": object{"country": "CHN", "region": c[pinRegion], "city": c[pinCity]}}
	user := object{}
	if c[pinUser] != "" {
		user["buyeruid"] = c[pinUser]
	}
	if c[pinTags] != "" {
		var segments []object
		for tag := range strings.SplitSeq(c[pinTags], ",") {
			segments = append(segments, object{"id": tag})
		}
		user["data"] = []object{{"id": PinExchange, "segment": segments}}
	}
	request, err := json.Marshal(object{"id": c[pinBidID], "at": 2, "cur": []string{"CNY"}, "tmax": 120, "imp": []object{imp}, "site": site, "device": device, "user": user,
		"ext": object{PinExchange: object{"exchange": c[pinExchange]}}})
	if err != nil {
		return nil, fmt.Errorf("cannot write request: %w", err)
	}
	return request, nil
}

// pinPosition returns the position of a banner (OpenRTB 2.6, AdCOM placement positions):
// 1 above the fold, 3 below it, 0 unknown. Season 2 has numbers, season 3 words.
func pinPosition(visibility string) int {
	switch strings.ToLower(visibility) {
	case "1", "firstview":
		return 1
	case "2", "3", "4", "5", "6", "7", "8", "9", "10", "secondview", "thirdview", "fourthview", "fifthview", "sixthview", "seventhview", "eighthview", "ninthview", "tenthview":
		return 3
	}
	return 0
}

// iPinYouFact reads a line of a log of impressions, clicks or conversions as a notice.
func iPinYouFact(line []byte) (*events.Fact, error) {
	c, err := pinLine(line)
	if err != nil {
		return nil, err
	}
	at, err := pinStamp(c[pinTime])
	if err != nil {
		return nil, err
	}
	f := &events.Fact{V: 1, TS: at, At: at, Advertiser: c[pinAdvertiser]}
	var cny rtb.Currency
	if err := cny.UnmarshalText([]byte("CNY")); err != nil {
		return nil, err
	}
	f.Currency = cny
	n := &events.Notice{BidID: pinID(c[pinBidID]), Exchange: PinExchange, Creative: c[pinCreative], BidCur: cny}
	f.Notice = n
	switch c[pinType] {
	case "1":
		f.Kind, n.PriceTold, n.Bills = events.KindBill, true, true
	case "2":
		f.Kind = events.KindClick
	case "3":
		f.Kind = events.KindConvert
	default:
		return nil, fmt.Errorf("cannot read iPinYou line: got log type %q; want 1, 2 or 3", c[pinType])
	}
	if n.Bid, err = pinPrice("bid price", c[pinBid]); err == nil {
		n.Price, err = pinPrice("paying price", c[pinPaying])
	}
	n.Charge = n.Price.Cost()
	return f, err
}
