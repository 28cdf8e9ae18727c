package segments

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// member says that a visitor has a segment because of a row of a list.
type member struct {
	segment rtb.SegmentID
	list    rtb.SegmentID // that of all members of the list
	job     uint64        // sequence of the beginning of the job that brought the row
	at      rtb.Second
}

// maxJobs is how many of the last jobs of a list are remembered.
const maxJobs = 20

// ListState is what the view knows of a list. It is immutable.
type ListState struct {
	Advertiser string    `json:"advertiser"`
	List       string    `json:"list"`
	Norm       string    `json:"norm"`    // std or uid2
	Purpose    string    `json:"purpose"` // target or suppress
	TTL        int64     `json:"ttl_s"`   // of a row, in seconds
	Defined    time.Time `json:"defined"`
	Dropped    bool      `json:"dropped,omitempty"`
	Jobs       []ListJob `json:"jobs,omitempty"` // the last ones, the oldest first

	// Rows of jobs before Base no longer count, nor do those of Pending, a replacement
	// that is not complete, and of Dead, replacements that never were.
	Base    uint64   `json:"base,omitempty"`
	Pending uint64   `json:"pending,omitempty"`
	Dead    []uint64 `json:"dead,omitempty"`
}

// ListJob is one change of a list.
type ListJob struct {
	ID       string    `json:"id"`
	Action   string    `json:"action"` // append, replace, remove
	Seq      uint64    `json:"seq"`    // of its beginning
	State    string    `json:"state"`  // running, done, aborted
	Rows     int64     `json:"rows"`
	Accepted int64     `json:"accepted"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended,omitzero"`
}

// counts reports whether a row of a job counts at a time.
func (l *ListState) counts(m *member, now rtb.Second) bool {
	return l != nil && !l.Dropped && m.job >= l.Base && m.job != l.Pending && uint64(m.at)+uint64(l.TTL) > uint64(now) &&
		!slices.Contains(l.Dead, m.job)
}

func (l *ListState) job(id string) *ListJob {
	for i := range l.Jobs {
		if l.Jobs[i].ID == id {
			return &l.Jobs[i]
		}
	}
	return nil
}

// lists are the lists by the segment of their members.
type lists map[rtb.SegmentID]*ListState

// Lists returns the lists of an advertiser, sorted by name; those of all for an empty
// name. The caller must not modify them.
func (s *Store) Lists(advertiser string) (out []*ListState) {
	for _, l := range *s.lists.Load() {
		if !l.Dropped && (advertiser == "" || l.Advertiser == advertiser) {
			out = append(out, l)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Advertiser < out[j].Advertiser || out[i].Advertiser == out[j].Advertiser && out[i].List < out[j].List
	})
	return out
}

// List returns a list, or nil if there is none. The caller must not modify it.
func (s *Store) List(advertiser, list string) *ListState {
	l := (*s.lists.Load())[audiences.ListSegment(advertiser, list)]
	if l == nil || l.Dropped {
		return nil
	}
	return l
}

// listKey is the key of a list's state.
func listKey(id rtb.SegmentID) []byte { return fmt.Appendf(nil, "%c%016x", listSpace, uint64(id)) }

// loadLists reads the states of all lists.
func (s *Store) loadLists() error {
	all := lists{}
	err := s.db.Scan([]byte{listSpace}, []byte{listSpace + 1}, func(_, value []byte) error {
		l := new(ListState)
		if err := json.Unmarshal(value, l); err != nil {
			return fmt.Errorf("cannot read state of a list: %w", err)
		}
		all[audiences.ListSegment(l.Advertiser, l.List)] = l
		return nil
	})
	s.lists.Store(&all)
	return err
}

// list folds a change of a list.
func (t *batch) list(f *events.Fact) error {
	v := f.List
	if v == nil || v.List == "" || len(v.List) > maxName || len(f.Advertiser) > maxName {
		return nil
	}
	id := audiences.ListSegment(f.Advertiser, v.List)
	l := t.listState(id)
	if v.Mode == events.ListRow {
		return t.row(f, id, l)
	}
	next := &ListState{Advertiser: f.Advertiser, List: v.List}
	if l != nil {
		c := *l
		next, next.Jobs, next.Dead = &c, slices.Clone(l.Jobs), slices.Clone(l.Dead)
	} else if v.Mode != events.ListDefine {
		return nil
	}
	next.change(f)
	if t.lists == nil {
		t.lists = maps.Clone(*t.s.lists.Load())
	}
	t.lists[id] = next
	t.dict.segment(id)
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	return t.b.Set(listKey(id), value)
}

// listState returns the state of a list, including the changes of the batch.
func (t *batch) listState(id rtb.SegmentID) *ListState {
	if t.lists != nil {
		return t.lists[id]
	}
	return (*t.s.lists.Load())[id]
}

// change applies a fact that is not a row.
func (l *ListState) change(f *events.Fact) {
	v, at := f.List, happened(f).Time()
	switch v.Mode {
	case events.ListDefine:
		l.Norm, l.Purpose, l.TTL, l.Dropped = v.Norm, v.Purpose, v.TTL, false
		if l.Defined.IsZero() {
			l.Defined = at
		}
	case events.ListBegin:
		l.Jobs = append(l.Jobs, ListJob{ID: v.Job, Action: v.Action, Seq: f.Seq, State: "running", Began: at})
		l.Jobs = l.Jobs[max(0, len(l.Jobs)-maxJobs):]
		if v.Action == events.ListReplace {
			l.kill(l.Pending)
			l.Pending = f.Seq
		}
	case events.ListCommit, events.ListAbort:
		l.end(v, at)
	case events.ListDrop:
		l.Dropped, l.Base, l.Pending, l.Dead, l.Jobs = true, f.Seq, 0, nil, nil
	}
}

// end ends a job.
func (l *ListState) end(v *events.List, at time.Time) {
	j := l.job(v.Job)
	if j == nil || j.State != "running" {
		return
	}
	j.Rows, j.Accepted, j.Ended, j.State = v.Rows, v.Accepted, at, "done"
	if v.Mode == events.ListAbort {
		j.State = "aborted"
	}
	if j.Seq != l.Pending {
		return
	}
	l.Pending = 0
	if j.State == "aborted" {
		l.kill(j.Seq)
		return
	}
	l.Base = j.Seq
	l.Dead = slices.DeleteFunc(l.Dead, func(seq uint64) bool { return seq < l.Base })
}

// kill makes the rows of a replacement that was not completed count for nothing.
func (l *ListState) kill(job uint64) {
	if job != 0 && !slices.Contains(l.Dead, job) {
		l.Dead = append(l.Dead, job)
	}
}
