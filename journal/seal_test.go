package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"rebound/events"
)

// names returns the names of the log's files.
func (r *rig) names() []string {
	r.t.Helper()
	if r.o.disk == nil {
		return imageOf(r.t, osDisk{}, r.dir("log", "facts")).logs()
	}
	return imageOf(r.t, r.o.disk, r.o.Dir+"/log/facts").logs()
}

func wantNames(t testing.TB, got []string, want ...string) {
	t.Helper()
	for i := range want {
		first, end, _ := strings.Cut(want[i], ".")
		want[i] = fmt.Sprintf("%020s", first) + "." + end
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got files %v; want %v", got, want)
	}
}

// A file is sealed when it is large or old; the newest one of a run is sealed at
// the next start.
func TestSeal(t *testing.T) {
	r := newRig(t)
	r.o.FileBytes = 10_000
	r.open()
	r.append("a", 50) // more than a file holds
	r.append("b", 1)
	packed(t, r.l)
	wantNames(t, r.names(), "1.ndjson.zst", "51.ndjson")
	r.append("c", 1)
	wantNames(t, r.names(), "1.ndjson.zst", "51.ndjson")
	r.now.add(time.Hour)
	r.append("d", 1)
	packed(t, r.l)
	wantNames(t, r.names(), "1.ndjson.zst", "51.ndjson.zst", "53.ndjson")
	r.now.add(time.Hour)
	packed(t, r.l)
	r.close()
	r.open()
	packed(t, r.l)
	wantNames(t, r.names(), "1.ndjson.zst", "51.ndjson.zst", "53.ndjson.zst", "54.ndjson")
	r.close()
	r.open() // nothing was written: the empty file is used again
	packed(t, r.l)
	wantNames(t, r.names(), "1.ndjson.zst", "51.ndjson.zst", "53.ndjson.zst", "54.ndjson")
	v := newTape("v")
	r.follow(v)
	v.want(t, "a:50", "b:1", "c:1", "d:1")
	if s := r.l.Stats(); s.SealErrors != 0 || s.Files != 4 {
		t.Fatalf("got %+v; want 4 files, no seal errors", s)
	}
}

// A sealed file holds frames of 1 MiB that can be read one by one, and the bytes of
// the plain file.
func TestSealFrames(t *testing.T) {
	r := newRig(t)
	r.o.FileBytes = 3 << 20
	r.open()
	big := event("big")
	big.Event.Query = strings.Repeat("word ", 20_000)
	for i := range 40 {
		big.ID = fmt.Sprintf("big-%d", i)
		if err := r.l.Append(t.Context(), big); err != nil {
			t.Fatal(err)
		}
		if i == 25 {
			// the writer is about to begin another file
			defer func(plain []byte) {
				got := imageOf(t, osDisk{}, r.dir("log", "facts"))
				if !strings.HasPrefix(got.text(t, got.logs()[0]), string(plain)) {
					t.Error("the sealed file does not begin with the bytes of the plain one")
				}
			}(imageOf(t, osDisk{}, r.dir("log", "facts"))[r.names()[0]])
		}
	}
	packed(t, r.l)
	data := imageOf(t, osDisk{}, r.dir("log", "facts"))[r.names()[0]]
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	frames := bytes.Split(data, magic)[1:]
	for i, f := range frames {
		text, err := z.DecodeAll(append(bytes.Clone(magic), f...), nil)
		if err != nil || i < len(frames)-1 && len(text) < frameBytes || len(text) > frameBytes+200_000 || text[len(text)-1] != '\n' {
			t.Fatalf("frame %d: got %d bytes, %v; want whole lines of 1 MiB", i, len(text), err)
		}
	}
	if len(frames) != 3 {
		t.Fatalf("got %d frames; want 3", len(frames))
	}
}

// plainLog returns a folder of facts with files that were never packed, and the ids
// in it.
func plainLog(t testing.TB) (r *rig, im image, ids []string) {
	r, d := memRig(t)
	r.o.FileBytes = 2_000
	d.hook(func(call, name string) error {
		if call == "create" && strings.HasSuffix(name, packedEnd+tmpEnd) {
			return syscall.EIO
		}
		return nil
	})
	r.open()
	for i := range 4 {
		r.append(fmt.Sprint(i), 5)
	}
	r.close()
	for i := range 20 {
		ids = append(ids, fmt.Sprintf("%d-%d", i/5, i%5))
	}
	im = imageOf(t, d, "/data/log/facts")
	if len(im.logs()) < 4 || strings.Contains(strings.Join(im.logs(), ""), ".zst") {
		t.Fatalf("got %v; want plain files", im.logs())
	}
	return r, im, ids
}

// A pack that fails, or is stopped, at any call loses nothing, whatever part of what
// was not synced the disk keeps.
func TestPackStopsAnywhere(t *testing.T) {
	r, im, ids := plainLog(t)
	for n := 1; ; n++ {
		d := newMemDisk()
		im.restore(t, d, "/data/log/facts")
		c, err := openCatalog(d, "/data/log/facts")
		if err != nil {
			t.Fatal(err)
		}
		d.hook(nth(n, true, syscall.EIO, func(string, string) bool { return true }))
		files, _ := c.snapshot()
		err = c.pack(&files[1], &files[2].header, nil)
		d.hook(nil)
		rnd := rand.New(rand.NewPCG(uint64(n), 3))
		for keep, disk := range map[string]*memDisk{"stopped": d, "nothing kept": d.cut(rnd, 0), "half kept": d.cut(rnd, 50), "all kept": d.cut(rnd, 100)} {
			r.o.disk = disk
			got := readAll(t, r.o)
			for _, id := range ids {
				if got[id] != 1 {
					t.Fatalf("call %d, %s: fact %s is in the log %d times; want once", n, keep, id, got[id])
				}
			}
		}
		if err == nil {
			if n < 10 {
				t.Fatalf("got %d calls; want more", n)
			}
			return
		}
	}
}

// A file that cannot be packed stays as it is, and is counted.
func TestPackFails(t *testing.T) {
	for _, call := range []string{"create", "write", "sync", "rename", "syncdir"} {
		r, d := memRig(t)
		r.o.FileBytes = 1_000
		d.hook(func(c, name string) error {
			if c == call && strings.Contains(name, packedEnd) {
				return syscall.ENOSPC
			}
			return nil
		})
		r.open()
		r.append("a", 5)
		r.append("b", 5)
		packed(t, r.l)
		if call != "syncdir" && r.l.Stats().SealErrors == 0 {
			t.Errorf("%s: no seal errors are counted", call)
		}
		d.hook(nil)
		r.now.add(2 * time.Hour)
		r.append("c", 1) // begins a file; what failed before is tried again
		r.l.meter.sealErrors.Store(0)
		packed(t, r.l)
		for _, name := range r.names()[:len(r.names())-1] {
			if strings.HasSuffix(name, plainEnd) {
				t.Errorf("%s: %s was not packed later", call, name)
			}
		}
		v := newTape("v")
		r.follow(v)
		v.want(t, "a:5", "b:5", "c:1")
		r.close()
	}
}

// Where a plain and a packed file of the same facts exist, the plain one counts if
// it verifies, otherwise the packed one; nothing is removed by those who only read.
func TestPlainAndPacked(t *testing.T) {
	r, plain, ids := plainLog(t)
	d := r.o.disk.(*memDisk)
	d.hook(nil)
	c, err := openCatalog(d, "/data/log/facts")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := c.snapshot()
	if err := c.pack(&files[1], &files[2].header, nil); err != nil {
		t.Fatal(err)
	}
	name := files[1].name()
	packedName := strings.TrimSuffix(name, plainEnd) + packedEnd
	good := imageOf(t, d, "/data/log/facts")[packedName]
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name          string
		plain, packed []byte
		wins          string
		damaged       bool
	}{
		{"both whole", plain[name], good, name, false},
		{"plain cut", plain[name][:len(plain[name])-200], good, packedName, false},
		{"plain changed", flip(plain[name], len(plain[name])-300), good, packedName, false},
		{"packed cut", plain[name], good[:len(good)/2], name, false},
		{"packed changed", plain[name], flip(good, len(good)-20), name, false},
		{"both changed", flip(plain[name], len(plain[name])-300), flip(good, len(good)-20), "", true},
	} {
		d := newMemDisk()
		plain.restore(t, d, "/data/log/facts")
		put(t, d, "/data/log/facts/"+name, c.plain)
		put(t, d, "/data/log/facts/"+packedName, c.packed)
		report, err := verify(d, "/data/log/facts", events.Position{}, nil)
		if im := imageOf(t, d, "/data/log/facts"); im[name] == nil || im[packedName] == nil {
			t.Fatalf("%s: verify removed a file", c.name)
		}
		if err != nil || report.OK() == c.damaged {
			t.Fatalf("%s: verify says %+v, %v", c.name, report, err)
		}
		cat, err := openCatalog(d, "/data/log/facts")
		if err != nil {
			t.Fatal(err)
		}
		if err := cat.removeSpare(); err != nil {
			t.Fatal(err)
		}
		im := imageOf(t, d, "/data/log/facts")
		if (im[name] != nil) != (c.wins == name || c.damaged) || (im[packedName] != nil) != (c.wins == packedName || c.damaged) {
			t.Fatalf("%s: got %v; want %q", c.name, im.logs(), c.wins)
		}
		if c.damaged {
			continue
		}
		r.o.disk = d
		if got := readAll(t, r.o); len(got) != len(ids) {
			t.Fatalf("%s: got %d facts; want %d", c.name, len(got), len(ids))
		}
	}
}

// A log that is verified and copied while files are written, sealed and deleted is
// neither changed nor found damaged.
func TestVerifyAndCopyInUse(t *testing.T) {
	r := newRig(t)
	r.o.FileBytes = 20_000
	r.open()
	stop, done := make(chan struct{}), make(chan struct{})
	var last int
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				last = i
				return
			default:
				r.append(fmt.Sprint(i), 10)
			}
		}
	}()
	for i := range 12 {
		report, err := Verify(r.dir("log", "facts"), r.l.Last(), nil)
		if err != nil || !report.OK() {
			t.Errorf("verify %d: %+v, %v", i, report, err)
		}
		to := r.dir(fmt.Sprintf("copy%d", i))
		if err := CopyFacts(r.dir("log", "facts"), to); err != nil {
			t.Fatal(err)
		}
		report, err = Verify(to, events.Position{}, nil)
		if err != nil || !report.OK() {
			t.Errorf("copy %d: %+v, %v", i, report, err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
	packed(t, r.l)
	v := newTape("v")
	r.follow(v)
	if len(v.ids) != 10*last {
		t.Fatalf("got %d facts; want %d", len(v.ids), 10*last)
	}
}
