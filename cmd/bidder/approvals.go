package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/campaigns"
	"rebound/config"
	"rebound/internal/lab"
	"rebound/server"
)

// approvalFile is what the admin API was told of creatives at exchanges, in the
// data folder: the last word on each creative and exchange.
type approvalFile struct {
	path string

	mu   sync.Mutex // guards list, and the order in which catalogs are swapped in
	list []campaigns.Approval
}

// loadApprovals reads the approvals of a data folder; none is no error.
func loadApprovals(dir string) (*approvalFile, error) {
	f := &approvalFile{path: filepath.Join(dir, "approvals.json")}
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read approvals: %w", err)
	}
	if err := json.Unmarshal(b, &f.list); err != nil {
		return nil, fmt.Errorf("cannot read approvals: %s is damaged; put creatives right again over the admin listener after removing it: %w", f.path, err)
	}
	return f, nil
}

// set stores an approval in the place of what was said before of the same
// creative and exchange. f.mu is held.
func (f *approvalFile) set(x campaigns.Approval) error {
	var list []campaigns.Approval
	for _, old := range f.list {
		if old.Creative != x.Creative || old.Exchange != x.Exchange {
			list = append(list, old)
		}
	}
	list = append(list, x)
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot store approval: %w", err)
	}
	if err := replaceSummed(filepath.Dir(f.path), filepath.Base(f.path), append(b, '\n')); err != nil {
		return fmt.Errorf("cannot store approval: %w", err)
	}
	f.list = list
	return nil
}

// swap makes a configuration the one that bids are made by, with everything that
// was said of its creatives.
func (a *app) swap(s *config.Snapshot) {
	a.approvals.mu.Lock()
	defer a.approvals.mu.Unlock()
	a.swapLocked(s)
}

func (a *app) swapLocked(s *config.Snapshot) {
	a.bidder.Swap(lab.CatalogOf(s, s.Approve(a.approvals.list)))
}

// approvalPrefix is the path below which creatives stand.
const approvalPrefix = "/admin/creatives/"

// approve answers PUT /admin/creatives/{id}/approval: it acts at once and
// survives a restart.
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
		sendError(ctx, fasthttp.StatusBadRequest, "bad_by", "by: got too many bytes; want who says so, in at most 128")
		return
	}
	x.CRID = s.CreativeIndex[id].CRID
	a.approvals.mu.Lock()
	defer a.approvals.mu.Unlock()
	if err := a.approvals.set(x); err != nil {
		a.log.Error("approval was not stored", zap.String("creative", id), zap.String("exchange", x.Exchange), zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the data folder did not take it; nothing changed: send it again")
		return
	}
	a.swapLocked(a.snapshot.Load())
	a.log.Info("creative approval changed", zap.String("creative", id), zap.String("exchange", x.Exchange), zap.String("state", x.State), zap.String("by", x.By))
	sendJSON(ctx, fasthttp.StatusOK, &x)
}
