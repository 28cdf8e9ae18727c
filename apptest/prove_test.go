package apptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// proving skips a long proof unless PROVE=1.
func proving(t *testing.T) {
	t.Helper()
	if os.Getenv("PROVE") == "" {
		t.Skip("runs with PROVE=1")
	}
}

// proofFolder is a data folder that a bidder under load left after a clean stop.
type proofFolder struct {
	config string
	dir    string
	older  string // an earlier copy
	// visitors are those whose bids are compared; some of them are unknown.
	visitors []string
	recount  *recount
	blind    bool // the folder itself is blind for money
	rejected bool // exchange other rejected the creative
}

// makeProofFolder runs a bidder under load. Each of its starts begins a new file of
// the log. In between, after a clean stop, copies of the views become checkpoints,
// which a bidder takes itself only every hour.
func makeProofFolder(t *testing.T) *proofFolder {
	t.Helper()
	p := &proofFolder{config: proofShop(t), older: filepath.Join(t.TempDir(), "older"), rejected: true}
	b := startBidder(t, "--config", p.config)
	p.dir = b.dir
	x := newProofLoad(b)
	const starts = 6
	for i := range starts {
		state := "approved"
		if i == starts-1 {
			state = "rejected" // the older copy says otherwise
		}
		status, body := x.send(http.MethodPut, "http://"+b.Admin+"/admin/creatives/card/approval", `{"exchange":"other","state":"`+state+`","by":"proof"}`)
		if status != http.StatusOK {
			t.Fatalf("approval: got %d %s", status, body)
		}
		x.run(20, nil)
		x.client.CloseIdleConnections() // a connection that was dialled and never used holds up the drain
		if status := b.terminate(); status != 0 {
			t.Fatalf("stopped with status %d", status)
		}
		switch i {
		case starts - 4:
			takeCheckpoints(t, p.config, b.dir)
		case starts - 3:
			copyFolder(t, b.dir, p.older)
		}
		if i+1 < starts {
			b.start()
		}
	}
	p.count(t)
	if wrong := x.missing(p.recount); len(wrong) > 0 {
		t.Fatalf("the log of a clean run: %v", wrong)
	}
	t.Logf("%d facts; acknowledged: %d events, %d bills", p.recount.facts, len(x.events), len(x.bills))
	return p
}

// count adds the folder's facts up and chooses the visitors to compare.
func (p *proofFolder) count(t *testing.T) {
	t.Helper()
	var err error
	if p.recount, err = recountFolder(p.dir); err != nil {
		t.Fatal(err)
	}
	p.visitors = []string{"stranger1", "stranger2"}
	bidders, bought := 0, 0
	for i := range proofVisitors {
		uid := fmt.Sprintf("v%d", i)
		switch v := p.recount.visitors[uid]; {
		case v.bids() && bidders < 24:
			bidders++
			p.visitors = append(p.visitors, uid)
		case v != nil && v.bought && bought < 8:
			bought++
			p.visitors = append(p.visitors, uid)
		}
	}
	if bidders == 0 || bought == 0 {
		t.Fatalf("got %d visitors who are bid for and %d who bought; want some of both", bidders, bought)
	}
}

// takeCheckpoints creates checkpoints of the views of a stopped bidder by
// copying them. It learns their positions from a bidder that it starts on a
// copy without facts, which writes what each view had seen to blind.json.
func takeCheckpoints(t *testing.T, config, dir string) {
	t.Helper()
	bare := filepath.Join(t.TempDir(), "bare")
	copyFolder(t, dir, bare)
	files, err := filepath.Glob(filepath.Join(bare, "log", "facts", "[0-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	r := (&proofFolder{config: config}).trial(t, bare)
	r.b.launch()
	r.await()
	r.b.kill()
	var blind struct {
		Views []struct {
			Name string `json:"name"`
			Seq  uint64 `json:"seq"`
			Hash string `json:"h"`
		} `json:"views"`
	}
	text, err := os.ReadFile(filepath.Join(bare, "blind.json"))
	if err == nil {
		err = json.Unmarshal(text, &blind)
	}
	if err != nil || len(blind.Views) == 0 {
		t.Fatalf("blind.json: got %s, %v; want views\n%s", text, err, r.b.log.tail(20))
	}
	count, err := recountFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range blind.Views {
		if _, err := os.Stat(filepath.Join(dir, "views", v.Name)); err != nil {
			continue // it is one small file, written at every start
		}
		to := filepath.Join(dir, "checkpoints", v.Name, fmt.Sprintf("%020d", v.Seq))
		copyFolder(t, filepath.Join(dir, "views", v.Name), to)
		position := fmt.Sprintf(`{"seq":%d,"h":%q,"time":%q}`, v.Seq, v.Hash, count.ts[v.Seq].Format(time.RFC3339Nano))
		if err := os.WriteFile(to+".position.json", []byte(position), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// trial is a bidder that starts on a copy of a folder.
type trial struct {
	p   *proofFolder
	b   *bidder
	x   *proofLoad
	dir string
}

func (p *proofFolder) trial(t *testing.T, dir string) *trial {
	b := &bidder{t: t, dir: dir, args: []string{"--config", p.config}, Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	return &trial{p: p, b: b, x: newProofLoad(b), dir: dir}
}

// outcome starts the bidder and compares it with the recount. A message about
// the damage must contain one of names.
func (r *trial) outcome(names []string) (outcome, detail string) {
	r.b.launch()
	defer r.b.kill()
	ready := r.await()
	said := r.b.log.tail(200)
	named := func(text string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(text, n) })
	}
	switch {
	case ready == "ended" && r.b.cmd.ProcessState.ExitCode() == 1 && strings.Contains(said, "bidder ended"):
		if !named(said) {
			return outVague, said
		}
		return outRefused, ""
	case ready == "view failed":
		if !named(said) {
			return outVague, said
		}
		return outBlind, ""
	case ready != "ready":
		return outHang, ready + ": " + said
	}
	wrong := r.x.differences(r.p.recount, r.p.visitors)
	if status, _ := r.x.ask("other", r.p.visitors[2], true); r.p.rejected && status != http.StatusNoContent {
		wrong = append(wrong, fmt.Sprintf("the creative that exchange other rejected gets %d", status))
	}
	reason, blind := r.blind()
	said = reason + r.b.log.tail(200)
	switch {
	case len(wrong) == 0 && !r.p.blind, blind && named(said):
		if blind {
			return outBlind, ""
		}
		return outSame, ""
	case blind:
		return outVague, said
	}
	return outSilent, fmt.Sprintf("%v\n%s", wrong, said)
}

// await waits until the bidder is ready, has ended, or has a view that does not
// recover.
func (r *trial) await() string {
	var failed time.Time
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		if m := r.b.log.find(0, "ready|started, but blind"); m != nil {
			r.b.Bid, r.b.Edge, r.b.Admin = str(m["bid"]), str(m["edge"]), str(m["admin"])
			return "ready"
		}
		select {
		case <-r.b.ended:
			return "ended"
		default:
		}
		if failed.IsZero() && r.b.log.find(0, "view failed") != nil {
			failed = time.Now()
		}
		if !failed.IsZero() && time.Since(failed) > 3*time.Second {
			return "view failed"
		}
	}
	return "neither ready nor ended"
}

// blind reports whether the bidder has stopped bidding, and the reason that it gives.
func (r *trial) blind() (reason string, blind bool) {
	status, reason := r.x.send(http.MethodGet, "http://"+r.b.Admin+"/readyz", "")
	for _, uid := range r.p.visitors {
		if status, _ := r.x.ask("demo", uid, true); status != http.StatusNoContent {
			return reason, false
		}
	}
	return reason, status == http.StatusServiceUnavailable
}

// corruptionTrial corrupts a copy of a folder in one way and starts a bidder on it.
type corruptionTrial struct {
	number          int
	kind, how, name string
	refold          bool // the views are removed, so that every fact is needed
}

// run returns the outcome, which is empty if there was nothing to do.
func (c *corruptionTrial) run(t *testing.T, p *proofFolder, dir string) (outcome, detail string) {
	rnd := rand.New(rand.NewPCG(uint64(c.number), 7))
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(p.dir)); err != nil {
		return outHang, err.Error()
	}
	files, err := dataFiles(dir)
	if err != nil {
		return outHang, err.Error()
	}
	var all []string
	for _, list := range files {
		all = append(all, list...)
	}
	slices.Sort(all)
	did, err := corrupt(rnd, dir, p.older, c.name, c.how, all)
	if err != nil {
		return outHang, err.Error()
	}
	if did == "" {
		return "", ""
	}
	names := placesOf(c.name)
	if p.blind {
		names = append(names, "the data folder", "log accept-loss") // it is blind for a reason of its own
	}
	if _, with, ok := strings.Cut(did, "swapped with "); ok {
		names = append(names, placesOf(with)...)
	}
	if c.refold {
		did += ", views removed"
		if err := os.RemoveAll(filepath.Join(dir, "views")); err != nil {
			return outHang, err.Error()
		}
	}
	did = c.name + ": " + did
	if strings.HasSuffix(c.kind, "facts") {
		if wrong := p.verify(t, dir); wrong != "" {
			return outSilent, did + ": " + wrong
		}
	}
	outcome, detail = p.trial(t, dir).outcome(names)
	if outcome == outBlind && strings.HasSuffix(c.kind, "facts") && c.number%5 == 0 && !p.blind {
		if wrong := p.repair(t, dir); wrong != "" {
			return outSilent, did + ": repair: " + wrong
		}
	}
	return outcome, did + ": " + detail
}

// placesOf returns the names by which a message can refer to a file of a data folder: the file, its
// view, or the log that it belongs to.
func placesOf(name string) []string {
	list := []string{filepath.Base(name)}
	if parts := strings.Split(filepath.ToSlash(name), "/"); len(parts) > 1 && (parts[0] == "views" || parts[0] == "checkpoints") {
		view := parts[1]
		list = append(list, "view "+view, view+" view", "views/"+view, "checkpoints/"+view)
	}
	if strings.HasPrefix(name, "log/facts/") {
		list = append(list, "log/facts")
	}
	return list
}

// verify checks "bidder verify" on a corrupted log: it finds the damage, or the
// facts are those of the original.
func (p *proofFolder) verify(t *testing.T, dir string) string {
	status, out := tool(t, "bidder", "verify", "--data", dir)
	if status != 0 {
		return ""
	}
	want := fmt.Sprintf(" %d facts in ", p.recount.facts)
	end := fmt.Sprintf("to %d:%x,", p.recount.last, p.recount.hash)
	if strings.Contains(out, want) && strings.Contains(out, end) {
		return ""
	}
	return "verify finds nothing wrong with other facts than" + want + end + "\n" + out
}

// repair restores facts from the original, after which the bidder agrees with
// the recount again. A bidder that was started in between has continued the log
// after a lost end; then repair reports the lost facts, and the bidder stays
// blind.
func (p *proofFolder) repair(t *testing.T, dir string) string {
	status, out := tool(t, "bidder", "log", "repair", "--data", dir, "--from", p.dir)
	outcome, detail := p.trial(t, dir).outcome([]string{"log/facts", "which the log does not hold"})
	lost := strings.Contains(out, "accept the loss") || strings.Contains(out, "still missing")
	if status == 0 && outcome == outSame || lost && outcome == outBlind {
		return ""
	}
	return outcome + " after " + out + detail
}

// corruptionTrials yields trials without end: files of every kind in turn, or of one
// kind, each in every way, every second one of the log with the views removed.
func (p *proofFolder) corruptionTrials(t *testing.T, only string) iter.Seq[*corruptionTrial] {
	t.Helper()
	files, err := dataFiles(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for kind := range files {
		if only == "" || kind == only {
			kinds = append(kinds, kind)
		}
		slices.Sort(files[kind])
	}
	slices.Sort(kinds)
	if len(kinds) == 0 {
		t.Fatalf("got no file %q in the data folder", only)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	return func(yield func(*corruptionTrial) bool) {
		for i := 0; ; i++ {
			kind := kinds[i%len(kinds)]
			names := files[kind]
			c := &corruptionTrial{
				number: i, kind: kind, how: corruptions[(i/len(kinds)+i%len(kinds))%len(corruptions)], name: names[rnd.IntN(len(names))],
				refold: kind == "checkpoints" || strings.HasSuffix(kind, "facts") && rnd.IntN(2) == 0,
			}
			if !yield(c) {
				return
			}
		}
	}
}

// corruptMany runs n trials, two at a time, and counts what became of them. Where
// only is not empty just files of that kind are corrupted.
func (p *proofFolder) corruptMany(t *testing.T, n int, only string, table corruptionTable) {
	t.Helper()
	work, tmp := make(chan *corruptionTrial), t.TempDir()
	var mu sync.Mutex
	var wg sync.WaitGroup
	done := 0
	for range 2 {
		wg.Go(func() {
			for c := range work {
				outcome, detail := c.run(t, p, filepath.Join(tmp, fmt.Sprint(c.number)))
				if outcome == "" {
					continue
				}
				mu.Lock()
				done++
				table.add(c.kind, c.how, outcome)
				mu.Unlock()
				if outcome == outVague || outcome == outSilent || outcome == outHang {
					t.Errorf("corruption %d: %s: %s", c.number, outcome, detail)
				}
			}
		})
	}
	for c := range p.corruptionTrials(t, only) {
		mu.Lock()
		enough := done >= n
		mu.Unlock()
		if enough || c.number > 3*n {
			break
		}
		work <- c
	}
	close(work)
	wg.Wait()
}

// report prints a result of a proof, also into the file that PROVE_REPORT names.
func report(t *testing.T, text string) {
	t.Helper()
	t.Log("\n" + text)
	name := os.Getenv("PROVE_REPORT")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, t.Name()+"\n"+text+"\n"); err != nil {
		t.Fatal(err)
	}
}

// TestProveCorruption: 1,000 corruptions of one file each, after a clean stop, and
// some of the two files that exist only after a loss.
func TestProveCorruption(t *testing.T) {
	proving(t)
	p, table := makeProofFolder(t), corruptionTable{}
	p.untouched(t)
	defer func() { report(t, table.String()) }()
	p.corruptMany(t, 1000, "", table)
	p.accepted(t).corruptMany(t, 60, "accepted.json", table)
	p.restored(t).corruptMany(t, 60, "blind.json", table)
}

// TestCorruption is the short form of the proof.
func TestCorruption(t *testing.T) {
	p, table := makeProofFolder(t), corruptionTable{}
	p.untouched(t)
	p.corruptMany(t, 30, "", table)
	report(t, table.String())
}

// accepted returns a copy of the folder in which a damaged fact was given up. The
// views are removed, so that each start reads past it.
func (p *proofFolder) accepted(t *testing.T) *proofFolder {
	t.Helper()
	a := &proofFolder{config: p.config, dir: filepath.Join(t.TempDir(), "accepted"), older: p.older, rejected: true}
	copyFolder(t, p.dir, a.dir)
	name := (&bidder{t: t, dir: a.dir}).newestFacts()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(`"kind":"event","advertiser":"shop"`), []byte(`"kind":"event","advertiser":"shot"`), 1)
	if bytes.Equal(changed, text) {
		t.Fatalf("got no event in %s", name)
	}
	if err := os.WriteFile(name, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"views", "checkpoints"} {
		if err := os.RemoveAll(filepath.Join(a.dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	if status, out := tool(t, "bidder", "log", "accept-loss", "--config", p.config, "--data", a.dir); status != 0 || !strings.Contains(out, "given up") {
		t.Fatalf("accept-loss: got %d %s", status, out)
	}
	if err := os.RemoveAll(filepath.Join(a.dir, "views")); err != nil {
		t.Fatal(err)
	}
	a.count(t)
	if outcome, detail := a.trial(t, a.copied(t)).outcome(nil); outcome != outSame {
		t.Fatalf("after accept-loss: %s: %s", outcome, detail)
	}
	return a
}

// restored returns a folder that was restored from a backup and is still blind.
func (p *proofFolder) restored(t *testing.T) *proofFolder {
	t.Helper()
	r := &proofFolder{config: p.config, dir: filepath.Join(t.TempDir(), "restored"), older: p.older, blind: true, rejected: true}
	backup := filepath.Join(t.TempDir(), "backup")
	if status, out := tool(t, "bidder", "backup", "--data", p.dir, backup); status != 0 {
		t.Fatalf("backup: got %d %s", status, out)
	}
	if status, out := tool(t, "bidder", "restore", "--data", r.dir, backup); status != 0 {
		t.Fatalf("restore: got %d %s", status, out)
	}
	b := &bidder{t: t, dir: r.dir, args: []string{"--config", p.config}, Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	b.start()
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	r.count(t)
	return r
}

// copied returns a copy of the folder.
func (p *proofFolder) copied(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	copyFolder(t, p.dir, dir)
	return dir
}

// untouched checks the comparison itself: an unchanged copy gives the same
// result, also if every fact is folded again from the checkpoints.
func (p *proofFolder) untouched(t *testing.T) {
	t.Helper()
	for _, removed := range [][]string{nil, {"views"}, {"views", "checkpoints"}} {
		dir := p.copied(t)
		for _, name := range removed {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		r := p.trial(t, dir)
		if outcome, detail := r.outcome(nil); outcome != outSame {
			t.Fatalf("without %v: %s: %s", removed, outcome, detail)
		}
		if len(removed) == 1 && r.b.log.find(0, "view begins at its checkpoint") == nil {
			t.Fatalf("no view begins at its checkpoint:\n%s", r.b.log.tail(40))
		}
	}
}
