package main

import (
	"context"
	"time"

	"go.uber.org/zap"

	"rebound/campaigns"
	"rebound/config"
)

// archived stores the inputs of a configuration, so that its decisions can be repeated,
// and returns the id that bid records name. It is empty if that failed, which is no reason
// to stop bidding, and while the folds catch up, when approvals change too often.
func (a *app) archived(s *config.Snapshot, approvals []campaigns.Approval) string {
	if a.bound.Logs.Bids.Off || len(a.bidder.Catalog().Exchanges) > 0 && !a.live.Load() {
		return ""
	}
	id, err := a.archive.Put(s, approvals, a.now())
	if err != nil {
		a.log.Error("the configuration is active but was not archived: replay --verify cannot repeat its decisions", zap.Error(err))
		return ""
	}
	return id
}

// archiveCheck is the interval at which the use of the archive is noted. Records may be
// older than their file by the time that they wait to be written, which archiveSlack covers too.
const (
	archiveCheck = 10 * time.Minute
	archiveSlack = time.Hour
)

// keepArchive notes which configuration is in use, and removes those that no bid record
// names any more.
func (a *app) keepArchive(ctx context.Context) error {
	tick := time.NewTicker(archiveCheck)
	defer tick.Stop()
	for {
		a.expireArchive()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *app) expireArchive() {
	now, active := a.now(), a.bidder.Catalog().Activation
	if active != "" {
		if err := a.archive.Use(active, now); err != nil {
			a.log.Error("archive of configurations", zap.Error(err))
		}
	}
	oldest, ok := a.bids.Oldest()
	if !ok {
		oldest = now
	}
	n, err := a.archive.Expire(active, oldest.Add(-archiveSlack))
	if err != nil {
		a.log.Error("archive of configurations", zap.Error(err))
	}
	if n > 0 {
		a.log.Info("archived configurations that no bid record names were removed", zap.Int("configurations", n))
	}
}
