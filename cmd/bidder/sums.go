package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// sumsName is the file of a data folder with the SHA-256 of approvals.json. A
// changed letter there leaves a file that can be read, a lost file looks like one
// that never was, and nothing else knows what it said.
const sumsName = "sums.json"

// summedFiles are the files that sums.json covers.
var summedFiles = []string{"approvals.json"}

// fileSums are the sums that each file may have, by name: two while a file is
// being replaced.
type fileSums map[string][]string

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// readSums returns the sums of a data folder; none if there is no sums.json.
func readSums(dir string) (fileSums, error) {
	path := filepath.Join(dir, sumsName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fileSums{}, nil
	}
	var sums fileSums
	if err == nil {
		err = json.Unmarshal(b, &sums)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: restore it from a backup, or remove it if %v is right: %w", path, summedFiles[0], err)
	}
	return sums, nil
}

// checkSums compares the files of a data folder with their sums. A file that is
// missing, was damaged or was exchanged is an error.
func checkSums(dir string) error {
	sums, err := readSums(dir)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		path := filepath.Join(dir, name)
		got := "no file"
		b, err := os.ReadFile(path)
		if err == nil {
			got = "SHA-256 " + sumOf(b)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot check %s: %w", path, err)
		}
		if err != nil || !slices.Contains(sums[name], sumOf(b)) {
			return fmt.Errorf("cannot use %s: got %s; want SHA-256 %v, as %s says: restore it from a backup, or remove %s if the file is right",
				path, got, sums[name], filepath.Join(dir, sumsName), sumsName)
		}
	}
	return nil
}

// noteSums writes the sums of the files that are there.
func noteSums(dir string) error {
	sums := fileSums{}
	for _, name := range summedFiles {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot note the sum of %s: %w", name, err)
		}
		sums[name] = []string{sumOf(b)}
	}
	return writeSums(dir, sums)
}

// writeSums replaces sums.json, unless it says the same.
func writeSums(dir string, sums fileSums) error {
	old, err := readSums(dir)
	if err == nil && len(old) > 0 && maps.EqualFunc(old, sums, slices.Equal) {
		return nil
	}
	b, err := json.MarshalIndent(sums, "", "  ")
	if err == nil {
		err = writeSynced(filepath.Join(dir, sumsName), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", sumsName, err)
	}
	return nil
}

// replaceSummed replaces a file that has a sum. Until it is in place both sums are valid,
// so that a crash in between leaves a folder that can be used.
func replaceSummed(dir, name string, text []byte) error {
	sums, err := readSums(dir)
	if err != nil {
		return err
	}
	if old := sums[name]; len(old) > 0 {
		sums[name] = append(slices.Clone(old), sumOf(text))
		if err := writeSums(dir, sums); err != nil {
			return err
		}
	}
	if err := writeSynced(filepath.Join(dir, name), text); err != nil {
		return err
	}
	_ = noteSums(dir) // until this succeeds, or the next start, the old sum is valid too
	return nil
}
