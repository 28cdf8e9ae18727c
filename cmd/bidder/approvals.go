package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/bidder"
	"rebound/campaigns"
	"rebound/config"
	"rebound/events"
	"rebound/internal/lab"
	"rebound/server"
)

// approvals is the view of creative approvals: the latest status of each
// creative at each exchange. It is a small file in the data folder, rewritten
// atomically with every approval and once a minute with the position, and
// rebuilt from the log if it is lost.
type approvals struct {
	path    string
	now     func() time.Time
	changed func() // called after approvals changed, on the folding goroutine

	mu     sync.Mutex // guards the fields below, and the order in which catalogs are swapped in
	state  approvalState
	acting []campaigns.Approval // of state, those that bids are made by
	saved  time.Time
}

// approvalState is the content of the file.
type approvalState struct {
	V        int                  `json:"v"`
	Position events.Position      `json:"position"`
	List     []campaigns.Approval `json:"list,omitempty"`
	Sum      string               `json:"sum"` // checksum of the other fields
}

func (s approvalState) sum() string {
	s.Sum = ""
	return events.Checksum(s)
}

// openApprovals reads the view of a data folder. A missing or damaged file
// gives an empty view, which the journal restores from a checkpoint or rebuilds
// from the log.
func openApprovals(dir string, now func() time.Time, log *zap.Logger) *approvals {
	v := &approvals{path: filepath.Join(dir, "approvals.json"), now: now, changed: func() {}}
	if err := v.read(v.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("approvals cannot be read and are folded again from the log", zap.Error(err))
	}
	return v
}

func (v *approvals) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read approvals: %w", err)
	}
	var s approvalState
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("cannot read approvals: %s: %w", path, err)
	}
	if s.Sum != s.sum() {
		return fmt.Errorf("cannot read approvals: %s is damaged: got sum %q; want %q", path, s.Sum, s.sum())
	}
	v.state = s
	return nil
}

func (v *approvals) write(path string) error {
	v.state.V, v.saved = 1, v.now()
	v.state.Sum = v.state.sum()
	b, err := json.MarshalIndent(&v.state, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write approvals: %w", err)
	}
	if err := writeSynced(path, append(b, '\n')); err != nil {
		return fmt.Errorf("cannot write approvals: %w", err)
	}
	return nil
}

// Name is the view's name in metrics and checkpoints.
func (v *approvals) Name() string { return "approvals" }

// Position returns the position of the last fact that the view reflects.
func (v *approvals) Position() events.Position {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.Position
}

// Apply folds facts.
func (v *approvals) Apply(facts []events.Fact) error {
	v.mu.Lock()
	changed := false
	for i := range facts {
		if x := facts[i].Approval; x != nil {
			v.set(campaigns.Approval{Creative: x.Creative, CRID: x.CRID, Exchange: x.Exchange, State: x.State, By: x.By, At: facts[i].At})
			changed = true
		}
	}
	v.state.Position = facts[len(facts)-1].Position()
	var err error
	if changed || v.now().Sub(v.saved) >= time.Minute {
		err = v.write(v.path)
	}
	v.mu.Unlock()
	if changed && err == nil {
		v.act()
	}
	return err
}

// act has bids made by what the view holds.
func (v *approvals) act() {
	list := v.list()
	v.changed()
	v.mu.Lock()
	v.acting = list
	v.mu.Unlock()
}

// set replaces the previous approval of the same creative and exchange.
func (v *approvals) set(x campaigns.Approval) {
	list := make([]campaigns.Approval, 0, len(v.state.List)+1) // active catalogs keep the old one
	for _, old := range v.state.List {
		if old.Creative != x.Creative || old.Exchange != x.Exchange {
			list = append(list, old)
		}
	}
	v.state.List = append(list, x)
}

// holds reports whether bids are made by an approval.
func (v *approvals) holds(x *events.Approval) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.acting, func(y campaigns.Approval) bool {
		return y.Creative == x.Creative && y.Exchange == x.Exchange && y.State == x.State && y.CRID == x.CRID && y.By == x.By
	})
}

// Checkpoint writes a copy of the view into dir, which must not exist.
func (v *approvals) Checkpoint(dir string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("cannot write checkpoint of approvals: %w", err)
	}
	return v.write(filepath.Join(dir, "approvals.json"))
}

// Restore replaces the view by the copy in dir.
func (v *approvals) Restore(dir string) error {
	v.mu.Lock()
	err := v.read(filepath.Join(dir, "approvals.json"))
	if err == nil {
		err = v.write(v.path)
	}
	v.mu.Unlock()
	if err == nil {
		v.act()
	}
	return err
}

// Reset empties the view.
func (v *approvals) Reset() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = approvalState{}
	return v.write(v.path)
}

// close writes the position.
func (v *approvals) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.write(v.path)
}

// swap makes a configuration the active one for bidding, together with the
// approvals of its creatives.
func (a *app) swap(s *config.Snapshot) {
	for {
		list := a.approvals.list()
		c := lab.CatalogOf(s, s.Approve(list))
		c.Activation = a.archived(s, list)
		if a.swapIf(list, c) {
			return
		}
	}
}

// swapIf makes a catalog the active one unless the approvals are no longer those in list.
func (a *app) swapIf(list []campaigns.Approval, c *bidder.Catalog) bool {
	v := a.approvals
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.state.List) != len(list) || len(list) > 0 && &v.state.List[0] != &list[0] {
		return false
	}
	a.bidder.Swap(c)
	return true
}

func (v *approvals) list() []campaigns.Approval {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state.List
}

// approvalPrefix is the path prefix of creatives.
const approvalPrefix = "/admin/creatives/"

// approve handles PUT /admin/creatives/{id}/approval. The approval takes effect
// at once and survives a restart.
func (a *app) approve(ctx *fasthttp.RequestCtx) {
	id, ok := strings.CutSuffix(string(server.Tail(ctx, approvalPrefix)), "/approval")
	if !ok {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	var order struct {
		Exchange string `json:"exchange"`
		State    string `json:"state"`
		By       string `json:"by"`
	}
	if got := readOrder(ctx.PostBody(), &order); got != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", got+`; want {"exchange":"<id>","state":"approved","by":"<who>"}`)
		return
	}
	s := a.snapshot.Load()
	x := campaigns.Approval{Creative: id, Exchange: order.Exchange, State: order.State, By: order.By, At: a.now().UTC()}
	if problems := x.Check(s.CreativeIndex, exchangeIDs(s.Profiles)); len(problems) > 0 {
		first, status := problems[0], fasthttp.StatusBadRequest
		if first.Path == "creative" {
			status = fasthttp.StatusNotFound
		}
		sendError(ctx, status, "bad_"+first.Path, first.String())
		return
	}
	if x.By == "" {
		x.By = "operator"
	}
	if len(x.By) > 128 {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_by", "by: got too many bytes; want the name of the operator, at most 128 bytes")
		return
	}
	x.CRID = s.CreativeIndex[id].CRID
	said := &events.Approval{Creative: id, CRID: x.CRID, Exchange: x.Exchange, State: x.State, By: x.By}
	if err := a.say(ctx, said, x.At); err != nil {
		a.log.Error("approval was not stored", zap.String("creative", id), zap.String("exchange", x.Exchange), zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the log did not accept it; send it again")
		return
	}
	a.log.Info("creative approval changed", zap.String("creative", id), zap.String("exchange", x.Exchange), zap.String("state", x.State), zap.String("by", x.By))
	sendJSON(ctx, fasthttp.StatusOK, &x)
}

// say appends an approval and waits until it is in effect on this node.
func (a *app) say(ctx context.Context, x *events.Approval, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	id := fmt.Sprintf("approval:%s:%s:%s:%d", a.node(), x.Creative, x.Exchange, at.UnixNano())
	if err := a.append(ctx, events.Fact{ID: id, At: at, Kind: events.KindApproval, Node: a.node(), Approval: x}); err != nil {
		return err
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !a.approvals.holds(x) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot apply approval: it is in the log but not folded yet: %w", ctx.Err())
		}
	}
	return nil
}
