package journal

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"rebound/events"
)

// maxGaps bounds the gaps that are remembered by themselves; later ones widen
// the last.
const maxGaps = 100

// lostID begins the id of a tick that stands for a fact that is gone.
const lostID = "lost:"

// gap is a run of facts that a view was carried past without them.
type gap struct {
	From uint64 `json:"from_seq"`
	To   uint64 `json:"to_seq"`
}

// gapsPath is the file that remembers, over restarts, what a view misses.
func (l *Log) gapsPath(view string) string {
	return filepath.Join(l.o.Dir, "checkpoints", view+".lost.json")
}

// readGaps reads what the view misses; of that only what lies at or below the
// position at which it begins: what is above it is read again.
func (f *follower) readGaps(pos events.Position) error {
	path := f.l.gapsPath(f.v.Name())
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return f.setGaps(nil)
	}
	var all, list []gap
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return fmt.Errorf("cannot read which facts the view misses: %s: %w", path, err)
	}
	for _, g := range all {
		if g.From <= pos.Seq {
			list = append(list, gap{g.From, min(g.To, pos.Seq)})
		}
	}
	if len(list) > 0 {
		f.setCount(list)
		f.l.o.Logger.Error("the view still misses facts that were lost; what it says is not the whole truth",
			zap.String("view", f.v.Name()), zap.Uint64("facts", f.missing.Load()), zap.String("remedy", f.remedy()))
	}
	return f.setGaps(list)
}

func (f *follower) remedy() string {
	return "stop, restore the archive folder from a backup, delete the view's folder, start; or, to go on without those facts, stop and delete " +
		f.l.gapsPath(f.v.Name())
}

// lost says, counts and remembers that the view is carried past facts that
// neither the stream nor the archive holds.
func (f *follower) lost(from, to uint64) error {
	f.l.lost(f.v.Name(), from, to)
	list := f.gaps
	switch n := len(list); {
	case n > 0 && (list[n-1].To+1 >= from || n == maxGaps):
		list[n-1].To = max(list[n-1].To, to)
	default:
		list = append(list, gap{from, to})
	}
	return f.setGaps(list)
}

// setGaps writes down what the view misses.
func (f *follower) setGaps(list []gap) error {
	f.setCount(list)
	path := f.l.gapsPath(f.v.Name())
	if len(list) == 0 {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("cannot forget which facts the view missed: %w", err)
		}
		return nil
	}
	b, err := json.Marshal(list)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = writeSynced(path, b)
	}
	if err != nil {
		return fmt.Errorf("cannot remember which facts the view misses: %w", err)
	}
	return nil
}

func (f *follower) setCount(list []gap) {
	f.gaps = list
	n := uint64(0)
	for _, g := range list {
		n += g.To - g.From + 1
	}
	f.missing.Store(n)
}

// fillers finds the ticks that stand for facts that are gone.
func (f *follower) fillers(facts []events.Fact) error {
	for i := range facts {
		if facts[i].Kind == events.KindTick && strings.HasPrefix(facts[i].ID, lostID) {
			if err := f.lost(facts[i].Seq, facts[i].Seq); err != nil {
				return err
			}
		}
	}
	return nil
}
