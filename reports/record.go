package reports

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"rebound/rtb"
)

// record is the part of a bid record that the reports count. Its texts point into the
// line. It may be used for one line after the other.
type record struct {
	version   int64
	at        int64 // seconds since 1970; 0: unknown
	exchange  []byte
	weight    int64 // requests that the record stands for, in millionths
	anonymous bool
	nobid     rtb.NoBidReason
	bids      []recordBid
	dropped   []recordDrop

	imps                  []recordImp
	domain, page, bundle  []byte
	country, region       []byte
	deviceType, os, agent []byte

	clock clock
}

type recordBid struct {
	id                           rtb.BidID
	imp, creative, item, deal    []byte
	advertiser, campaign, line   []byte
	reserved, recency, frequency int64 // micros, seconds, impressions
}

type recordDrop struct {
	advertiser, campaign, line []byte
	reason                     rtb.NoBidReason
}

type recordImp struct {
	id                           []byte
	banner, video, native, audio bool
	bannerSize, videoSize        recordSize
}

// recordSize has the sides of an impression as the request has them.
type recordSize struct{ w, h []byte }

// decode reads one line of the bid log. Members of the request that have the wrong type
// are left out.
func (r *record) decode(line []byte) error {
	*r = record{weight: million, bids: r.bids[:0], dropped: r.dropped[:0], imps: r.imps[:0], clock: r.clock}
	s := scanner{b: line}
	if s.peek() != '{' {
		return errors.New("cannot read bid record: got no JSON object; want a line of the bid log")
	}
	err := r.read(&s)
	switch {
	case s.bad || s.peek() != 0:
		return errors.New("cannot read bid record: got invalid JSON; want a line of the bid log")
	case err != nil:
		return fmt.Errorf("cannot read bid record: %w", err)
	case r.version == 0 || r.at == 0:
		return errors.New("cannot read bid record: got no v or no ts; want a line of the bid log")
	}
	return nil
}

// read reads the members of a record. It returns the first error of their values.
func (r *record) read(s *scanner) (err error) {
	note := func(e error) {
		if err == nil {
			err = e
		}
	}
	s.enter('{')
	for s.member() {
		switch string(s.key) {
		case "v":
			r.version = s.integer()
		case "ts":
			at, err := r.clock.read(s.text())
			r.at = at
			note(err)
		case "exchange":
			r.exchange = s.text()
		case "sample_weight":
			r.weight = weightOf(s.scalar())
		case "anonymous":
			r.anonymous = string(s.scalar()) == "true"
		case "request":
			r.readRequest(s)
		case "decision":
			note(r.readDecision(s))
		default:
			s.skip()
		}
	}
	return err
}

func (r *record) readDecision(s *scanner) (err error) {
	if !s.enter('{') {
		return nil
	}
	for s.member() {
		switch string(s.key) {
		case "nobid":
			err = cmp.Or(err, r.nobid.UnmarshalText(s.text()))
		case "bids":
			for open := s.enter('['); open && s.more(']'); {
				err = cmp.Or(err, r.readBid(s))
			}
		case "dropped":
			for open := s.enter('['); open && s.more(']'); {
				err = cmp.Or(err, r.readDrop(s))
			}
		default:
			s.skip()
		}
	}
	return err
}

func (r *record) readBid(s *scanner) (err error) {
	if !s.enter('{') {
		return nil
	}
	r.bids = append(r.bids, recordBid{})
	b := &r.bids[len(r.bids)-1]
	for s.member() {
		switch string(s.key) {
		case "bid_id":
			err = b.id.UnmarshalText(s.text())
		case "impid":
			b.imp = s.text()
		case "advertiser":
			b.advertiser = s.text()
		case "campaign":
			b.campaign = s.text()
		case "line":
			b.line = s.text()
		case "creative":
			b.creative = s.text()
		case "item":
			b.item = s.text()
		case "deal":
			b.deal = s.text()
		case "reserved_micros":
			b.reserved = s.integer()
		case "recency_s":
			b.recency = s.integer()
		case "frequency":
			b.frequency = s.integer()
		default:
			s.skip()
		}
	}
	return err
}

func (r *record) readDrop(s *scanner) (err error) {
	if !s.enter('{') {
		return nil
	}
	r.dropped = append(r.dropped, recordDrop{})
	x := &r.dropped[len(r.dropped)-1]
	for s.member() {
		switch string(s.key) {
		case "advertiser":
			x.advertiser = s.text()
		case "campaign":
			x.campaign = s.text()
		case "line":
			x.line = s.text()
		case "reason":
			err = x.reason.UnmarshalText(s.text())
		default:
			s.skip()
		}
	}
	return err
}

func (r *record) readRequest(s *scanner) {
	if !s.enter('{') {
		return
	}
	for s.member() {
		switch string(s.key) {
		case "imp":
			for open := s.enter('['); open && s.more(']'); {
				r.readImp(s)
			}
		case "site":
			for open := s.enter('{'); open && s.member(); {
				switch string(s.key) {
				case "domain":
					r.domain = s.text()
				case "page":
					r.page = s.text()
				default:
					s.skip()
				}
			}
		case "app":
			for open := s.enter('{'); open && s.member(); {
				if string(s.key) == "bundle" {
					r.bundle = s.scalar()
				} else {
					s.skip()
				}
			}
		case "device":
			r.readDevice(s)
		default:
			s.skip()
		}
	}
}

func (r *record) readDevice(s *scanner) {
	for open := s.enter('{'); open && s.member(); {
		switch string(s.key) {
		case "ua":
			r.agent = s.text()
		case "os":
			r.os = s.text()
		case "devicetype":
			r.deviceType = s.scalar()
		case "geo":
			for open := s.enter('{'); open && s.member(); {
				switch string(s.key) {
				case "country":
					r.country = s.text()
				case "region":
					r.region = s.text()
				default:
					s.skip()
				}
			}
		default:
			s.skip()
		}
	}
}

func (r *record) readImp(s *scanner) {
	if s.peek() != '{' {
		s.skip()
		return
	}
	s.enter('{')
	r.imps = append(r.imps, recordImp{})
	m := &r.imps[len(r.imps)-1]
	for s.member() {
		switch string(s.key) {
		case "id":
			m.id = s.text()
		case "banner":
			m.banner = s.peek() == '{'
			m.bannerSize.read(s)
		case "video":
			m.video = s.peek() == '{'
			m.videoSize.read(s)
		case "native":
			m.native = s.peek() == '{'
			s.skip()
		case "audio":
			m.audio = s.peek() == '{'
			s.skip()
		default:
			s.skip()
		}
	}
}

// read reads the size of a banner or video; without one, the first of its formats.
func (x *recordSize) read(s *scanner) {
	var first recordSize
	for open := s.enter('{'); open && s.member(); {
		if string(s.key) != "format" {
			x.side(s)
			continue
		}
		if s.enter('[') {
			first.readFirst(s)
		}
	}
	if (len(x.w) == 0 || string(x.w) == "0") && (len(first.w) > 0 || len(first.h) > 0) {
		*x = first
	}
}

// readFirst reads the first format of a list that was entered.
func (x *recordSize) readFirst(s *scanner) {
	for n := 0; s.more(']'); n++ {
		if n > 0 {
			s.skip()
		} else if s.enter('{') {
			for s.member() {
				x.side(s)
			}
		}
	}
}

// side reads a member if it is w or h.
func (x *recordSize) side(s *scanner) {
	switch string(s.key) {
	case "w":
		x.w = s.scalar()
	case "h":
		x.h = s.scalar()
	default:
		s.skip()
	}
}

const million = 1_000_000

// weightOf returns a sample weight in millionths; one for none and for nonsense.
func weightOf(text []byte) int64 {
	if string(text) == "1" {
		return million
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f > 0) || f > 1e9 {
		return million
	}
	return int64(f*million + 0.5)
}

// clock reads times. Consecutive records are often of one second.
type clock struct {
	text [len("2006-01-02T15:04:05")]byte
	at   int64
}

// read returns a time in seconds since 1970.
func (c *clock) read(text []byte) (int64, error) {
	n := len(c.text)
	utc := len(text) > n && text[len(text)-1] == 'Z'
	if utc && c.at != 0 && string(text[:n]) == string(c.text[:]) {
		return c.at, nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return 0, err
	}
	if at := t.Unix(); utc {
		copy(c.text[:], text)
		c.at = at
	}
	return t.Unix(), nil
}
