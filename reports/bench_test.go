package reports

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestFolder counts a folder of bid records.
func TestFolder(t *testing.T) {
	dir := os.Getenv("FOLDER")
	if dir == "" {
		t.Skip()
	}
	w := newWorld(t)
	o := w.options()
	o.BidDir = dir
	o.Now = time.Now
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	began := cpu()
	n := int64(0)
	for {
		p, err := s.Follow(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		n += p.Records
		if !p.More {
			break
		}
	}
	mid := cpu()
	cells := 0
	for i := range s.step.tallies {
		t.Logf("%s %d", s.step.tallies[i].cube.name, len(s.step.tallies[i].rows))
		cells += len(s.step.tallies[i].rows)
	}
	s.Update(context.Background())
	t.Logf("%d records: %v each; commit %v, %d cells, %v each; %v a record", n, (mid-began)/time.Duration(n), cpu()-mid, cells, (cpu()-mid)/time.Duration(cells), (cpu()-mid)/time.Duration(n))
}
