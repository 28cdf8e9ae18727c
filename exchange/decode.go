package exchange

import (
	"bytes"
	"cmp"
	"time"

	"rebound/rtb"
)

// Limits on the parts of one request that are read. A block or allow list or a
// supply chain that exceeds its limit is unreadable, so there is no bid; in
// other lists the excess is ignored.
const (
	maxID         = 1024    // bytes of an id that must be echoed; a longer one counts as absent
	maxIdentifier = 1024    // bytes of a user's identifier; longer is ignored
	maxImps       = 100     // impressions; more are ignored
	maxEIDs       = 100     // identifiers of the eids of one place; more are ignored
	maxDeals      = 500     // deals of an impression; more are ignored
	maxFormats    = 200     // banner formats; more are ignored
	maxInts       = 256     // entries of a list of codes
	maxTexts      = 1000    // keywords, mimes, categories, segments
	maxBlocked    = 1 << 15 // entries of a block or allow list
	maxNodes      = 100     // supply chain nodes
	maxSIDs       = 64      // GPP sections
	maxAssets     = 64      // of a native request; more make it unreadable
	maxTrackers   = 16      // event trackers of a native request; more are ignored
	maxTMax       = time.Hour
)

// Decoder decodes bid requests. It is not safe for concurrent use; keep one per
// handler and reuse it. The zero value is ready for use.
type Decoder struct {
	// Sources are the sources of user.eids of which Head reads the identifiers, in any
	// letter case; nil reads all. The caller must not change the list.
	Sources []string
	// Unlisted makes Head read the identifiers of all other sources, too, after those of
	// Sources: an explanation names them.
	Unlisted bool

	s     scanner
	head  head
	parts rtb.Parts // that Rest reads

	// The lists of one request, one after the other. The slices of the Opportunity
	// are parts of them.
	texts     [][]byte
	ints      []int
	sizes     []rtb.Size
	flex      []rtb.FlexSize
	durations []time.Duration
	durFloors []rtb.DurFloor
	deals     []rtb.Deal
	sids      []int
	impIDs    [][]byte
	pmps      int // pmp objects of the current impression
	dealLists int // lists of deals of the current impression
	assets    []rtb.NativeAsset
	trackers  []rtb.NativeTracker
	inner     scanner // of a native request within a string

	nativeText []byte     // the current impression's native request, as the string in the body
	lastText   []byte     // that of the last one that was read
	lastNative rtb.Native // what was read of it
	asBefore   bool       // the two are the same
}

// head holds the results of Head that Rest needs: the offsets of values (0:
// absent), and the identifiers before they are sorted.
type head struct {
	imp, site, app, dooh           int
	source                         int // the first one
	user, deviceGeo, sua, cur      int
	schain                         [3]int // source.schain, source.ext.schain, ext.schain
	eids                           [2]int // user.eids, user.ext.eids
	lists                          [len(listNames)]int
	inventories                    int
	buyerUID, userID, ifa, ifaType []byte
	geo, userGeo                   []byte // countries
	impGiven                       bool
	schainBad                      bool // a supply chain is doubled, or an object that may hold one cannot be read
	catTaxBad                      bool // cattax is not a taxonomy, or there are two that differ
	deviceExtBad                   bool // device.ext is present but not an object
}

// listPlace is a block or allow list of a request.
type listPlace uint8

const (
	listWSeat listPlace = iota
	listBSeat
	listBCat
	listACat
	listBAdv
	listBApp
	listWLang
	listWLangB
)

// listNames are the block and allow lists of a request. An allow list, marked by
// invites, restricts bids to its entries; a block list excludes them.
var listNames = [...]struct {
	name    string
	form    listForm
	invites bool
}{
	listWSeat: {"wseat", invitedSeats, true}, listBSeat: {"bseat", blockedSeats, false},
	listBCat: {"bcat", labeledCodes, false}, listACat: {"acat", labeledCodes, true},
	listBAdv: {"badv", domains, false}, listBApp: {"bapp", bundles, false},
	listWLang: {"wlang", labeledCodes, true}, listWLangB: {"wlangb", labeledCodes, true},
}

// Head decodes the fields that are needed before a visitor is looked up: id, tmax, test,
// at, identifiers, privacy signals and device, of which it leaves geo and sua to Rest. It
// checks the strings, the brackets and the UTF-8 of the whole body, and the JSON of what it
// reads; Rest checks the values that Head skips. It resets o. A non-nil error is a
// [DecodeError]; o.ID is set even then if it could be read, because the response echoes it.
func (d *Decoder) Head(body []byte, p *Profile, o *rtb.Opportunity) error {
	d.reset(o)
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	d.s.start(body)
	d.s.i = d.s.space(0)
	if !d.s.enter('{') {
		return d.notObject()
	}
	o.At = p.At
	for d.s.member() {
		d.rootMember(o)
	}
	if d.s.err == 0 && d.s.space(d.s.i) != len(d.s.b) {
		d.s.err = ErrSyntax
	}
	if d.s.fault != 0 {
		d.s.err = d.s.fault
	}
	if d.s.err == 0 && !d.s.validUTF8() {
		d.s.err = ErrUTF8
	}
	if d.s.err == 0 {
		d.s.err = d.complete(p, o)
	}
	if d.s.err != 0 {
		return d.s.err
	}
	d.collectIDs(p, o)
	return nil
}

// notObject returns the error of a text that does not begin with {.
func (d *Decoder) notObject() error {
	d.s.value()
	switch {
	case d.s.fault != 0:
		d.s.err = d.s.fault
	case d.s.err == 0 && d.s.space(d.s.i) != len(d.s.b):
		d.s.err = ErrSyntax
	case d.s.err == 0:
		d.s.err = ErrNotObject
	}
	return d.s.err
}

// complete checks that a request has the required members. JSON that is invalid in a
// value that Head skipped is found before a missing member is.
func (d *Decoder) complete(p *Profile, o *rtb.Opportunity) DecodeError {
	if err := d.required(p, o); err != 0 || len(o.BidFeedback) > 0 {
		return cmp.Or(d.s.check(), err)
	}
	return 0
}

func (d *Decoder) required(p *Profile, o *rtb.Opportunity) DecodeError {
	switch h := &d.head; {
	case len(o.ID) == 0:
		return ErrNoID
	case !h.impGiven:
		return ErrNoImp
	case h.inventories > 1:
		return ErrTwoInventories
	case h.inventories == 0 && !p.AllowNoInventory:
		return ErrNoInventory
	}
	return 0
}

// Capacities above which memory is released after an unusual request.
const (
	keepTexts = 4096
	keepOther = 1024
	keepBytes = 64 << 10
	keepImps  = 32
	keepEnds  = 4096
	keepText  = 512 // blocks of the index: 32 KiB of text, 44 KiB of memory
)

// release empties the scanner's memory and keeps it up to the capacities above.
func (s *scanner) release() {
	s.buf = emptied(s.buf, keepBytes)
	s.blocks = emptied(s.blocks, keepText)
	s.ends = emptied(s.ends, keepEnds)
}

// reset empties the decoder and the opportunity and keeps their memory up to the
// capacities above.
func (d *Decoder) reset(o *rtb.Opportunity) {
	d.head = head{}
	if d.lastText != nil {
		d.lastText, d.lastNative = nil, rtb.Native{}
	}
	d.nativeText, d.asBefore = nil, false
	d.texts = emptied(d.texts, keepTexts)
	d.ints = emptied(d.ints, keepOther)
	d.sizes = emptied(d.sizes, keepOther)
	d.flex = emptied(d.flex, keepOther)
	d.durations = emptied(d.durations, keepOther)
	d.durFloors = emptied(d.durFloors, keepOther)
	d.deals = emptied(d.deals, keepOther)
	d.sids = emptied(d.sids, maxSIDs)
	d.assets = emptied(d.assets, keepOther)
	d.trackers = emptied(d.trackers, keepOther)
	d.s.release()
	d.inner.release()
	currencies, ids, imps := emptied(o.Currencies, keepOther), emptied(o.IDs, keepOther), emptied(o.Imps, keepImps)
	keywords, segments := emptied(o.Keywords, keepTexts), emptied(o.UserSegments, keepTexts)
	cats, nodes := emptied(o.Supply.Cats, keepTexts), emptied(o.SChain.Nodes, keepOther)
	*o = rtb.Opportunity{} // in place: a literal with these lists would be copied
	o.Currencies, o.IDs, o.Imps, o.Keywords, o.UserSegments = currencies, ids, imps, keywords, segments
	o.Supply.Cats, o.SChain.Nodes = cats, nodes
}

// emptied returns the slice without its elements, or nil if its capacity exceeds
// keep.
func emptied[T any](s []T, keep int) []T {
	if cap(s) > keep {
		return nil
	}
	return s[:0]
}
