package main

import (
	"context"
	"os"
	"time"
)

// listCheck is the interval between checks of the list files.
const listCheck = 2 * time.Second

// fileState holds the attributes by which a changed file is recognized.
type fileState struct {
	size int64
	mod  time.Time
}

func stateOf(name string) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{size: -1}
	}
	return fileState{info.Size(), info.ModTime()}
}

// watchLists requests a reload when a list file has changed and then stays the
// same for one interval, so that a file is not read while it is being written.
func (a *app) watchLists(ctx context.Context) error {
	tick := time.NewTicker(listCheck)
	defer tick.Stop()
	seen, waiting := map[string]fileState{}, map[string]fileState{}
	a.listsChanged(seen, waiting) // the current state is the one that was loaded
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.listsChanged(seen, waiting) {
			select {
			case a.changed <- struct{}{}:
			default: // a reload is already pending
			}
		}
	}
}

// listsChanged checks the files of the active configuration once. seen holds
// the states found earlier, and waiting those that have changed since and may
// still be changing.
func (a *app) listsChanged(seen, waiting map[string]fileState) bool {
	changed := false
	for _, name := range a.snapshot.Load().Lists() {
		now := stateOf(name)
		was, known := seen[name]
		switch {
		case !known:
			seen[name] = now
		case now == was:
			delete(waiting, name)
		case waiting[name] != now:
			waiting[name] = now
		default:
			seen[name] = now
			delete(waiting, name)
			changed = true
		}
	}
	return changed
}
