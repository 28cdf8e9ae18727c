package main

import (
	"context"
	"os"
	"time"
)

// listCheck is how often the list files are looked at.
const listCheck = 2 * time.Second

// fileState is what tells that a file changed.
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

// watchLists asks for a reload when a list file has changed and then stood still
// for one look: a file that is being written is not read half.
func (a *app) watchLists(ctx context.Context) error {
	tick := time.NewTicker(listCheck)
	defer tick.Stop()
	seen, waiting := map[string]fileState{}, map[string]fileState{}
	a.listsChanged(seen, waiting) // what is there now is what was read
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.listsChanged(seen, waiting) {
			select {
			case a.changed <- struct{}{}:
			default: // one is on its way
			}
		}
	}
}

// listsChanged looks once at the files of the active configuration. seen is what
// it found before, waiting what has changed since and may still be changing.
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
