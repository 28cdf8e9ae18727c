package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// BidFiles returns the files of a bid log's folder, the oldest first.
func BidFiles(dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(EscapeGlob(dir), bidPrefix+"*"+bidEnd+"*"))
	if err != nil {
		return nil, fmt.Errorf("cannot list the bid log's files: %w", err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, bidEnd) && !strings.HasSuffix(n, bidEnd+PackedEnd) })
	slices.Sort(names)
	return names, nil
}

// LastBids returns the newest bid records that contain one of the keys, the newest first:
// at most limit. It reads the newest files of a bid log's folder, and begins no file after
// maxBytes of them were read; whole reports whether it read all. Records that are still
// buffered by the writer, for at most a second, are not found, and lines that cannot be
// read are skipped.
func LastBids(dir string, keys KeySet, limit int, maxBytes int64) (list []BidRecord, whole bool, err error) {
	names, err := BidFiles(dir)
	if err != nil {
		return nil, false, err
	}
	for _, name := range slices.Backward(names) {
		if len(list) >= limit || maxBytes <= 0 {
			return list, false, nil
		}
		text, err := ReadPacked(name)
		if errors.Is(err, fs.ErrNotExist) { // packed or deleted in the meantime
			text, err = ReadPacked(strings.TrimSuffix(name, PackedEnd) + PackedEnd)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			return list, false, fmt.Errorf("cannot read bid log: %w", err)
		}
		maxBytes -= int64(len(text))
		list = lastIn(list, text, keys, limit)
	}
	return list, true, nil
}

// lastIn appends the records of one file that contain a key, from its end.
func lastIn(list []BidRecord, text []byte, keys KeySet, limit int) []BidRecord {
	for len(text) > 0 && len(list) < limit {
		text = bytes.TrimSuffix(text, []byte{'\n'})
		at := bytes.LastIndexByte(text, '\n') + 1
		line := text[at:]
		text = text[:at]
		if !keys.In(line) {
			continue
		}
		var r BidRecord
		if json.Unmarshal(line, &r) == nil {
			list = append(list, r)
		}
	}
	return list
}

// OpenFile opens a file of the log or the bid log; what it reads is decompressed according
// to the name. A plain file can be sought in.
func OpenFile(name string) (io.ReadCloser, error) {
	if strings.HasSuffix(name, PackedEnd) {
		return openFile(name, new(int64))
	}
	return os.Open(name)
}
