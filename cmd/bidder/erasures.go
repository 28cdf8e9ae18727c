package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// erasure is one request to erase a person's data, and its receipt. It is a file in
// data/erasures, so that a request survives a kill. Once it is done, the file holds no
// keys any more.
type erasure struct {
	RequestID string       `json:"request_id"`
	State     string       `json:"state"` // pending or done
	AskedAt   time.Time    `json:"asked_at"`
	DoneAt    time.Time    `json:"done_at,omitzero"`
	Found     erasureFound `json:"found"`
	Error     string       `json:"error,omitempty"` // of the last attempt; it is repeated

	// Keys are those of the fact, and Traces those that are searched for in files.
	Keys   []events.LinkKey `json:"keys,omitempty"`
	Traces []rtb.Key        `json:"traces,omitempty"`
	Seq    uint64           `json:"seq,omitempty"` // of the erase fact or after it; 0 before it is stored
	// Choices are opt-outs and opt-ins that a restored backup did not contain, instead of
	// an erasure.
	Choices []events.Fact `json:"choices,omitempty"`
}

// erasureFound counts what was erased.
type erasureFound struct {
	Profiles   int `json:"profile"`
	Links      int `json:"edges"`
	Facts      int `json:"facts"`
	LogFiles   int `json:"log_files"`
	BidRecords int `json:"bid_records"`
	BidFiles   int `json:"bid_files"`
}

const (
	erasurePending = "pending"
	erasureDone    = "done"
	// eraseRetry is the pause after an attempt that failed.
	eraseRetry = time.Minute
	// maxPending bounds the requests that wait.
	maxPending = 10_000
)

// erasures keeps the requests to erase data and carries them out one after the other.
type erasures struct {
	dir string
	now func() time.Time
	log *zap.Logger
	do  func(context.Context, *erasure) error // carries out one request and fills Found

	mu   sync.Mutex // guards list
	list map[string]*erasure
	wake chan struct{}
}

// openErasures reads the requests of a data folder.
func openErasures(dir string, now func() time.Time, log *zap.Logger) (*erasures, error) {
	e := &erasures{dir: filepath.Join(dir, "erasures"), now: now, log: log, list: map[string]*erasure{}, wake: make(chan struct{}, 1)}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make folder of erasures: %w", err)
	}
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list erasures: %w", err)
	}
	var names []string
	for _, x := range entries {
		name := filepath.Join(e.dir, x.Name())
		if strings.HasSuffix(name, ".json") {
			names = append(names, name)
		} else if err := os.Remove(name); err != nil { // left by a kill; it may hold keys
			return nil, fmt.Errorf("cannot remove what a kill has left: %w", err)
		}
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		r := &erasure{}
		if err == nil {
			err = json.Unmarshal(b, r)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read request to erase data in %s: %w", name, err)
		}
		e.list[r.RequestID] = r
	}
	return e, nil
}

// ask stores a request.
func (e *erasures) ask(keys []events.LinkKey) (*erasure, error) {
	var id [12]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	r := &erasure{RequestID: hex.EncodeToString(id[:]), State: erasurePending, AskedAt: e.now().UTC(), Keys: keys}
	if n := len(e.pending()); n >= maxPending {
		return nil, fmt.Errorf("got %d requests to erase data that wait; want at most %d", n, maxPending)
	}
	if err := e.keep(r); err != nil {
		return nil, err
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return r, nil
}

// keep writes a request to disk and remembers it.
func (e *erasures) keep(r *erasure) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = writeSynced(filepath.Join(e.dir, r.RequestID+".json"), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot store request to erase data: %w", err)
	}
	c := *r
	e.mu.Lock()
	e.list[r.RequestID] = &c
	e.mu.Unlock()
	return nil
}

// get returns a copy of a request without its keys, or nil.
func (e *erasures) get(id string) *erasure {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.list[id]
	if r == nil {
		return nil
	}
	c := *r
	c.Keys, c.Traces, c.Choices = nil, nil, nil
	return &c
}

// pending returns copies of the requests that are not done, the oldest first.
func (e *erasures) pending() []erasure {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []erasure
	for _, r := range e.list {
		if r.State == erasurePending {
			list = append(list, *r)
		}
	}
	slices.SortFunc(list, func(a, b erasure) int {
		return cmp.Or(a.AskedAt.Compare(b.AskedAt), cmp.Compare(a.RequestID, b.RequestID))
	})
	return list
}

// run carries out requests until ctx ends.
func (e *erasures) run(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-retry.C:
		}
		for _, r := range e.pending() {
			r := &r
			err := e.do(ctx, r)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				r.State, r.DoneAt, r.Error, r.Keys, r.Traces, r.Choices = erasureDone, e.now().UTC(), "", nil, nil, nil
			} else {
				r.Error = err.Error()
			}
			if kerr := e.keep(r); err == nil {
				err = kerr
			}
			if err != nil {
				e.log.Error("personal data could not be erased; trying again", zap.String("request_id", r.RequestID), zap.Error(err))
				retry.Reset(eraseRetry)
				break
			}
			e.log.Info("personal data was erased", zap.String("request_id", r.RequestID), zap.Any("found", r.Found))
		}
	}
}

// eraseStep is one part of an erasure.
type eraseStep struct {
	name string
	do   func() error
}

// erase carries out one request. Each step may be repeated: after a kill the request
// begins again with the fact, which changes nothing the second time.
func (a *app) erase(ctx context.Context, r *erasure) error {
	if len(r.Choices) > 0 {
		if err := a.append(ctx, r.Choices...); err != nil {
			return fmt.Errorf("cannot store opt-outs: %w", err)
		}
		return a.folded(ctx, a.journal.Last().Seq)
	}
	var set events.KeySet
	visitors := func() map[rtb.Key]struct{} {
		m := map[rtb.Key]struct{}{}
		for _, k := range r.Keys {
			if k.KeyKind == events.VisitorKind {
				m[k.Key] = struct{}{}
			}
		}
		return m
	}
	for _, s := range []eraseStep{
		{"find the person", func() error { return a.findPerson(ctx, r) }},
		{"store the erasure", func() error {
			set = events.NewKeySet(r.Traces...)
			return a.storeErasure(ctx, r)
		}},
		{"erase in the log", func() error {
			done, err := a.journal.Erase(ctx, set, r.Seq)
			r.Found.LogFiles, r.Found.Facts = r.Found.LogFiles+done.Files, r.Found.Facts+done.Facts
			return err
		}},
		{"erase in the bid log", func() error {
			done, err := a.bids.Erase(ctx, set)
			r.Found.BidFiles, r.Found.BidRecords = r.Found.BidFiles+done.Files, r.Found.BidRecords+done.Records
			return err
		}},
		{"erase in the view of visitors", func() error { return a.visitors.Scrub(ctx, set) }},
		{"erase in the view of money", func() error { return a.money.Erase(ctx, visitors()) }},
		{"erase in checkpoints", func() error { return a.journal.RenewCheckpoints(ctx, r.Seq) }},
	} {
		if err := s.do(); err != nil {
			return fmt.Errorf("cannot %s: %w", s.name, err)
		}
	}
	return nil
}

// findPerson adds to a request who is behind its identifiers, once the view of visitors
// has everything that was stored before it.
func (a *app) findPerson(ctx context.Context, r *erasure) error {
	if r.Traces != nil {
		return nil
	}
	if err := a.folded(ctx, a.journal.Last().Seq); err != nil {
		return err
	}
	p, err := a.visitors.Person(r.Keys)
	if err != nil {
		return err
	}
	if r.Traces, err = a.visitors.Keys(p); err != nil {
		return err
	}
	for _, k := range r.Keys { // also where nothing is known of it now
		if !slices.Contains(r.Traces, k.Key) && k.KeyKind == events.VisitorKind {
			r.Traces = append(r.Traces, k.Key)
		}
	}
	for _, v := range p.Visitors {
		if k := (events.LinkKey{KeyKind: events.VisitorKind, Key: v}); !slices.Contains(r.Keys, k) {
			r.Keys = append(r.Keys, k)
		}
	}
	r.Found.Profiles, r.Found.Links = p.Profiles, len(p.Links)
	return a.erasures.keep(r)
}

// storeErasure appends the erase fact and waits until the views have folded it.
func (a *app) storeErasure(ctx context.Context, r *erasure) error {
	if r.Seq == 0 {
		f := events.Fact{V: 1, ID: "erase:" + r.RequestID, At: r.AskedAt, Kind: events.KindErase, Node: a.node(), Keys: r.Keys}
		if err := a.append(ctx, f); err != nil {
			return err
		}
		r.Seq = a.journal.Last().Seq
		if err := a.erasures.keep(r); err != nil {
			return err
		}
	}
	return a.folded(ctx, r.Seq)
}

// folded waits until the view of visitors holds a fact.
func (a *app) folded(ctx context.Context, seq uint64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for a.visitors.Position().Seq < seq {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
