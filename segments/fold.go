package segments

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"rebound/audiences"
	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// How long an event is remembered, so that repetitions are not counted.
const (
	eventLife = 48 * hourSpan
	orderLife = 90 * daySpan
	// noticeLife is how long a bid's impression is remembered, so that its second
	// notice is not counted: the longest notice_ttl that can be configured, and an
	// hour. The configured value is not a fact, so the fold does not read it.
	noticeLife = 7*daySpan + hourSpan
	// profileLife is how long a profile is kept after its last activity: the
	// maximum look-back of a rule.
	profileLife = 540 * daySpan
)

// Apply folds facts, in the order of the log, and stores them with the position of the
// last one in one batch. It skips facts at or below the position. If the view's files
// turn out to be damaged, Apply empties the view and returns an error that wraps
// [view.ErrDamaged].
func (s *Store) Apply(facts []events.Fact) error {
	at := s.Position()
	for len(facts) > 0 && facts[0].Seq <= at.Seq && at.Seq > 0 {
		facts = facts[1:]
	}
	if len(facts) == 0 {
		return nil
	}
	s.applying.Lock()
	err := s.applyBatch(facts)
	s.applying.Unlock()
	if err != nil {
		if view.IsDamage(err) {
			s.log.Error("the view of visitors is damaged; it is emptied", zap.Error(err))
			err = errors.Join(err, s.Reset())
		}
		return err
	}
	if fn := s.folded.Load(); fn != nil {
		for i := range facts {
			if facts[i].Kind == events.KindEvent {
				(*fn)(facts[i].TS)
			}
		}
	}
	return nil
}

func (s *Store) applyBatch(facts []events.Fact) error {
	t, err := s.newBatch()
	if err != nil {
		return err
	}
	defer t.b.Close()
	for i := range facts {
		if err := t.fold(&facts[i]); err != nil {
			return fmt.Errorf("cannot fold fact %d: %w", facts[i].Seq, err)
		}
		t.folded++
	}
	return t.write(facts[len(facts)-1].Position())
}

func (t *batch) fold(f *events.Fact) error {
	t.now = max(t.now, factTime(f))
	if err := t.sweep(); err != nil {
		return err
	}
	switch f.Kind {
	case events.KindEvent:
		return t.event(f)
	case events.KindLink:
		return t.link(f)
	case events.KindImp, events.KindBill:
		return t.impression(f)
	case events.KindVideo:
		if f.Notice != nil && f.Notice.Bills { // the VAST impression, if it is the billing notice
			return t.impression(f)
		}
	case events.KindOptOut:
		return t.optOut(f)
	case events.KindOptIn:
		return t.optIn(f)
	case events.KindErase:
		return t.erase(f)
	case events.KindConfig:
		return t.config(f)
	case events.KindList:
		return t.list(f)
	}
	return nil
}

// event folds an event that has not been folded before.
func (t *batch) event(f *events.Fact) error {
	if f.Event == nil || f.Visitor.IsZero() {
		return nil
	}
	if gone, err := t.optedOut(f.Visitor); gone || err != nil {
		return err
	}
	t.ids = t.matcher.Match(f, t.ids[:0])
	if len(t.ids) == 0 && (productKinds[f.Event.Name] == 0 || len(f.Event.Items) == 0) {
		return nil // nothing to remember
	}
	first, err := t.firstTime(f)
	if err != nil {
		return err
	}
	if !first {
		t.s.count.duplicates.Add(1)
		return nil
	}
	w, err := t.profile(f.Visitor)
	if err != nil {
		return err
	}
	if !w.exists && len(*t.s.lists.Load()) > 0 { // a list may have named the visitor before
		if err := t.enrollAll(f.Visitor, f.Visitor, f.Seq); err != nil {
			return err
		}
		t.ids = t.matcher.Match(f, t.ids[:0])
	}
	at, dropped := happened(f), 0
	for _, id := range t.ids {
		t.dict.segment(id)
		dropped += addEvent(&w.v, id, at)
		if c, ok := t.matcher.Sum(id); ok && f.Currency == c && f.Event.Value > 0 {
			dropped += addValue(w.v.Segment(id), at.UTCDay(), f.Event.Value)
		}
	}
	dropped += addProducts(&w.v, f.Advertiser, f.Event, at)
	t.s.count.dropped.Add(uint64(dropped))
	if err := t.keep(w, f.Seq); err != nil {
		return err
	}
	return t.shareEvent(f, at)
}

// firstTime reports whether an event of its visitor is new: by its own id, or
// the fact's if it has none, and for a purchase by its order id too. One order
// may come under two visitors, from the shop's server and from the browser:
// both bought.
func (t *batch) firstTime(f *events.Fact) (bool, error) {
	e := f.Event
	who := string(f.Visitor[:])
	what := digest("fact", f.ID)
	if e.EventID != "" {
		what = digest("event", f.Advertiser, who, e.Name, e.EventID)
	}
	first := true
	if e.EventID != "" || f.ID != "" {
		var err error
		if first, err = t.once(what, eventLife); err != nil {
			return false, err
		}
	}
	if e.Name != "purchase" || e.OrderID == "" {
		return first, nil
	}
	firstOrder, err := t.once(digest("order", f.Advertiser, who, e.OrderID), orderLife)
	return first && firstOrder, err
}

// impression counts the impression of a bid once, by whichever notice arrives first. It
// creates no profile, so a visitor who was erased meanwhile stays erased.
func (t *batch) impression(f *events.Fact) error {
	n := f.Notice
	if n == nil || f.Visitor.IsZero() || n.BidID.IsZero() {
		return nil
	}
	w, err := t.profile(f.Visitor)
	if err != nil || !w.exists {
		return err
	}
	first, err := t.once(digest("bid", string(n.BidID[:])), noticeLife)
	if err != nil {
		return err
	}
	if !first {
		t.s.count.duplicates.Add(1)
		return nil
	}
	campaign := f.Advertiser + "/" + n.Campaign
	scopes := [...]rtb.ScopeID{
		rtb.ScopeOf("line", campaign+"/"+n.Line), rtb.ScopeOf("campaign", campaign),
		rtb.ScopeOf("advertiser", f.Advertiser), rtb.ScopeOf("creative", f.Advertiser+"/"+n.Creative),
	}
	at := happened(f)
	if err := t.seen(w, f, scopes[:], at); err != nil {
		return err
	}
	return t.shareImpression(f, scopes[:], at)
}

// seen counts an impression in scopes for a visitor.
func (t *batch) seen(w *work, f *events.Fact, scopes []rtb.ScopeID, at rtb.Second) error {
	for _, scope := range scopes {
		t.s.count.dropped.Add(uint64(addImpression(&w.v, scope, at, t.now)))
	}
	return t.keep(w, f.Seq)
}

// meant returns the visitors to which an opt-out or an erasure applies: the one
// that it names, and those to which its keys are linked.
func (t *batch) meant(f *events.Fact) ([]rtb.Key, error) {
	var out []rtb.Key
	if !f.Visitor.IsZero() {
		out = append(out, f.Visitor)
	}
	for _, l := range f.Keys {
		if l.KeyKind == events.VisitorKind {
			out = append(out, l.Key)
			continue
		}
		e, _, err := t.edge(l.Key)
		if err != nil {
			return nil, err
		}
		for _, d := range e.devices {
			if !d.visitor.IsZero() && !slices.Contains(out, d.visitor) {
				out = append(out, d.visitor)
			}
		}
	}
	return out, nil
}

// optOut writes tombstones for the visitor and all its identifiers, and deletes the
// profile.
func (t *batch) optOut(f *events.Fact) error {
	visitors, err := t.meant(f)
	if err != nil {
		return err
	}
	for _, l := range f.Keys {
		if err := t.tombstone(l.Key, nil); err != nil {
			return err
		}
	}
	for _, visitor := range visitors {
		ids, err := t.linked(visitor)
		if err != nil {
			return err
		}
		if err := t.forget(visitor); err != nil {
			return err
		}
		if err := t.tombstone(visitor, ids); err != nil {
			return err
		}
		for _, l := range ids {
			if err := t.tombstone(l.Key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// tombstone opts out a key. That of a visitor names the identifiers that opted out with
// it, so that the visitor can opt in again.
func (t *batch) tombstone(k rtb.Key, linked []events.LinkKey) error {
	if k.IsZero() {
		return nil
	}
	t.outs = append(t.outs, k)
	t.touched = append(t.touched, k)
	t.s.gone.Load().add(k) // the rest of this batch reads it
	key := spaceKey(tombSpace, k)
	_, exists, err := t.b.Get(key[:])
	if err != nil || exists && len(linked) == 0 {
		return err
	}
	if !exists {
		t.tombs++
	}
	value := secondBytes(t.now)
	for _, l := range linked {
		value = append(value, l.Key[:]...)
	}
	return t.b.Set(key[:], value)
}

// optIn takes back the opt-out of a visitor and of the identifiers that opted out with
// it.
func (t *batch) optIn(f *events.Fact) error {
	key := spaceKey(tombSpace, f.Visitor)
	value, exists, err := t.b.Get(key[:])
	if err != nil || !exists {
		return err
	}
	back := []rtb.Key{f.Visitor}
	for rest := value[min(len(value), 4):]; len(rest) >= 16; rest = rest[16:] {
		back = append(back, rtb.Key(rest[:16]))
	}
	for _, k := range back {
		key := spaceKey(tombSpace, k)
		_, exists, err := t.b.Get(key[:])
		if err != nil {
			return err
		}
		if exists {
			t.tombs--
		}
		if err := t.b.Delete(key[:]); err != nil {
			return err
		}
		t.touched, t.ins = append(t.touched, k), append(t.ins, k)
	}
	return nil
}

// erase deletes visitors. An opt-out stays in force.
func (t *batch) erase(f *events.Fact) error {
	visitors, err := t.meant(f)
	if err != nil {
		return err
	}
	keys := slices.Clone(f.Keys)
	for _, visitor := range visitors {
		ids, err := t.linked(visitor)
		if err != nil {
			return err
		}
		if err := t.forget(visitor); err != nil {
			return err
		}
		keys = append(append(keys, ids...), events.LinkKey{KeyKind: events.VisitorKind, Key: visitor})
	}
	if err := t.eraseRows(keys); err != nil {
		return err
	}
	for _, l := range f.Keys { // one that too many visitors claimed is linked to none of them
		e, _, err := t.edge(l.Key)
		if err != nil {
			return err
		}
		if e.shared() {
			e.devices = nil
			if err := t.setEdge(l.Key, &e); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget deletes a visitor's profile and links.
func (t *batch) forget(visitor rtb.Key) error {
	ids, err := t.linked(visitor)
	if err != nil {
		return err
	}
	for _, l := range ids {
		if err := t.unlink(l.Key, visitor); err != nil {
			return err
		}
	}
	return t.drop(visitor)
}

// config activates the rules of a new configuration for the events that follow, once
// all its facts are folded. A rule that this version cannot read is ignored and counted.
func (t *batch) config(f *events.Fact) error {
	if f.Config == nil || t.s.fixed {
		return nil
	}
	rules, complete, err := t.configRules(f)
	if err != nil || !complete {
		return err
	}
	before, _, err := t.b.Get([]byte(metaRules))
	if err != nil {
		return err
	}
	if err := t.pendingAfter(strings.Split(string(before), "\n"), rules); err != nil {
		return err
	}
	m, bad := readableRules(rules)
	t.s.reportBadRules(bad)
	t.matcher = m
	return t.b.Set([]byte(metaRules), []byte(strings.Join(rules, "\n")))
}

// configRules adds a fact to the parts of its configuration, and returns the rules if
// that completes it.
func (t *batch) configRules(f *events.Fact) (rules []string, complete bool, err error) {
	value, exists, err := t.b.Get([]byte(metaParts))
	if err != nil {
		return nil, false, err
	}
	var parts events.ConfigParts
	if exists {
		if err := json.Unmarshal(value, &parts); err != nil {
			return nil, false, fmt.Errorf("cannot read parts of configurations of view segments: %w: %w", view.ErrDamaged, err)
		}
	}
	rules, complete = parts.Add(f.Node, f.Config)
	if len(parts.Open) == 0 {
		if !exists {
			return rules, complete, nil
		}
		return rules, complete, t.b.Delete([]byte(metaParts))
	}
	value, err = json.Marshal(&parts)
	if err != nil {
		return nil, false, fmt.Errorf("cannot store parts of configurations: %w", err)
	}
	return rules, complete, t.b.Set([]byte(metaParts), value)
}

// readableRules compiles the rules that this version can read and returns the others.
func readableRules(rules []string) (m *audiences.Matcher, bad []string) {
	var good []string
	for _, r := range rules {
		if audiences.CheckText(r) == nil {
			good = append(good, r)
		} else if r != "" {
			bad = append(bad, r)
		}
	}
	m, err := audiences.NewMatcher(good)
	if err != nil { // cannot fail: every text was checked
		m, _ = audiences.NewMatcher(nil)
	}
	return m, bad
}
