package apptest

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// corruptions are the ways in which a file is damaged.
var corruptions = []string{"bit", "truncated", "missing", "older", "swapped", "zeroed"}

// fileKind returns the kind of a file of a data folder by its path in the
// folder; empty for locks.
func fileKind(name string) string {
	dir, base := filepath.Split(filepath.ToSlash(name))
	switch {
	case strings.EqualFold(base, "lock"):
		return ""
	case strings.HasPrefix(dir, "log/facts/") && strings.HasSuffix(base, ".ndjson.zst"):
		return "sealed facts"
	case strings.HasPrefix(dir, "log/facts/") && strings.HasSuffix(base, ".ndjson"):
		return "newest facts"
	case strings.HasPrefix(dir, "log/bids/"):
		return "bid records"
	case strings.HasPrefix(dir, "checkpoints/"):
		return "checkpoints"
	case strings.HasPrefix(dir, "views/"):
		return "view of " + strings.Split(dir, "/")[1]
	}
	return base
}

// dataFiles returns the files of a data folder by kind, as paths within it.
func dataFiles(dir string) (map[string][]string, error) {
	files := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if kind := fileKind(name); kind != "" {
			files[kind] = append(files[kind], name)
		}
		return err
	})
	return files, err
}

// corrupt damages one file of a data folder in one way. older is an earlier copy
// of the whole folder. It returns what was done, empty if there was nothing to do:
// no older copy, or no second file to swap with.
func corrupt(rnd *rand.Rand, dir, older, name, how string, all []string) (string, error) {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	switch how {
	case "missing":
		return "missing", os.Remove(path)
	case "older":
		return putOlder(path, filepath.Join(older, name), text)
	case "swapped":
		return swap(rnd, dir, name, text, all)
	}
	if len(text) == 0 {
		return "", nil
	}
	did := ""
	switch how {
	case "bit":
		at, bit := rnd.IntN(len(text)), rnd.IntN(8)
		text[at] ^= 1 << bit
		did = fmt.Sprintf("bit %d of byte %d flipped", bit, at)
	case "truncated":
		n := rnd.IntN(len(text))
		if i := bytes.LastIndexByte(text[:n], '\n'); i >= 0 && rnd.IntN(2) == 0 {
			n = i + 1 // between two lines, where nothing looks torn
		}
		text = text[:n]
		did = fmt.Sprintf("truncated to %d bytes", n)
	case "zeroed":
		at := rnd.IntN(len(text)) &^ 511
		n := min(len(text)-at, 512<<rnd.IntN(4))
		if bytes.Equal(text[at:at+n], make([]byte, n)) {
			return "", nil
		}
		clear(text[at : at+n])
		did = fmt.Sprintf("%d bytes from %d zeroed", n, at)
	}
	return did, os.WriteFile(path, text, 0o600)
}

// putOlder puts an earlier copy of a file in place. A packed file is joined by
// its earlier, plain form. The files of a view have other names each time: there the
// whole earlier view is put in place.
func putOlder(path, older string, text []byte) (string, error) {
	if dir, was := filepath.Dir(path), filepath.Dir(older); filepath.Base(filepath.Dir(dir)) == "views" {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
		return "older copy of the whole view", os.CopyFS(dir, os.DirFS(was))
	}
	if plain, packed := strings.CutSuffix(older, ".zst"); packed {
		older, path, text = plain, strings.TrimSuffix(path, ".zst"), nil
	}
	was, err := os.ReadFile(older)
	if os.IsNotExist(err) || err == nil && bytes.Equal(was, text) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("older copy of %d bytes", len(was)), os.WriteFile(path, was, 0o600)
}

// swap exchanges the contents of a file and another one of the same kind; where
// there is none, of any kind. A file of one view is also swapped with that of the
// other view that has the same name.
func swap(rnd *rand.Rand, dir, name string, text []byte, all []string) (string, error) {
	var near, far []string
	for _, x := range all {
		switch same := fileKind(x) == fileKind(name); {
		case x == name:
		case same, filepath.Base(x) == filepath.Base(name):
			near = append(near, x)
		default:
			far = append(far, x)
		}
	}
	list := near
	if len(near) == 0 || rnd.IntN(4) == 0 && len(far) > 0 {
		list = far
	}
	if len(list) == 0 {
		return "", nil
	}
	with := list[rnd.IntN(len(list))]
	other, err := os.ReadFile(filepath.Join(dir, with))
	if err != nil || bytes.Equal(other, text) {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, with), text, 0o600); err != nil {
		return "", err
	}
	return "swapped with " + with, os.WriteFile(filepath.Join(dir, name), other, 0o600)
}

// corruptionTable counts outcomes by kind of file and of corruption.
type corruptionTable map[string]map[string]int // "kind / corruption", outcome

func (c corruptionTable) add(kind, how, outcome string) {
	row := c[kind+" | "+how]
	if row == nil {
		row = map[string]int{}
		c[kind+" | "+how] = row
	}
	row[outcome]++
}

// outcomes of a corruption; the last three are failures.
const (
	outSame    = "same"    // the bidder runs and agrees with the recount
	outBlind   = "blind"   // it runs and does not bid, and says where the damage is
	outRefused = "refused" // it does not start, and says where the damage is
	outVague   = "no place named"
	outSilent  = "silent"
	outHang    = "hang or crash"
)

func (c corruptionTable) String() string {
	outcomes := []string{outSame, outBlind, outRefused, outVague, outSilent, outHang}
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s", "file | corruption")
	for _, o := range outcomes {
		fmt.Fprintf(&b, " %14s", o)
	}
	total := map[string]int{}
	var rows []string
	for row := range c {
		rows = append(rows, row)
	}
	slices.Sort(rows)
	for _, row := range append(rows, "all") {
		counts := c[row]
		if row == "all" {
			counts = total
		}
		fmt.Fprintf(&b, "\n%-34s", row)
		for _, o := range outcomes {
			fmt.Fprintf(&b, " %14d", counts[o])
			if row != "all" {
				total[o] += counts[o]
			}
		}
	}
	return b.String()
}
