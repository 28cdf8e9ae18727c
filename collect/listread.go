package collect

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Limits of an uploaded file.
const (
	MaxListBytes = 64 << 20  // as sent
	maxListText  = 256 << 20 // after decompression
	maxListLine  = 64 << 10
)

var errListTooLarge = errors.New("file exceeds 256 MiB")

// eachRow calls fn with the columns of each row of a file, CSV with a header or NDJSON,
// compressed or not, and bad for each line that cannot be read. An error means that the
// rest of the file cannot be read.
func eachRow(body []byte, fn func(line int, row map[string]string) error, bad func(LineError)) error {
	var in io.Reader = bytes.NewReader(body)
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("cannot read file: %w", err)
		}
		in = z
	}
	limited := &io.LimitedReader{R: in, N: maxListText + 1}
	text := bufio.NewReaderSize(limited, maxListLine)
	if mark, _ := text.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = text.Discard(3) // cannot fail: the bytes were read
	}
	first, err := text.Peek(1)
	if err != nil {
		return errors.New("cannot read file: it is empty")
	}
	if first[0] == '{' {
		err = jsonRows(text, fn, bad)
	} else {
		err = csvRows(text, fn, bad)
	}
	if limited.N <= 0 {
		return errListTooLarge
	}
	return err
}

func jsonRows(in *bufio.Reader, fn func(int, map[string]string) error, bad func(LineError)) error {
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, maxListLine), maxListLine)
	for n := 1; scan.Scan(); n++ {
		line := bytes.TrimSpace(scan.Bytes())
		if len(line) == 0 {
			continue
		}
		var raw map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&raw); err != nil {
			bad(LineError{Line: n, Why: "not a JSON object", code: "bad_json"})
			continue
		}
		row, known := make(map[string]string, len(raw)), true
		for name, v := range raw {
			name = strings.ToLower(strings.TrimSpace(name))
			if known = knownColumn(name); !known {
				bad(LineError{Line: n, Col: name, Why: unknownColumn(name), code: "unknown_column"})
				break
			}
			if v != nil {
				row[name] = fmt.Sprint(v)
			}
		}
		if !known {
			continue
		}
		if err := fn(n, row); err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("cannot read file: %w", err)
	}
	return nil
}

func csvRows(in io.Reader, fn func(int, map[string]string) error, bad func(LineError)) error {
	r := csv.NewReader(in)
	r.FieldsPerRecord, r.TrimLeadingSpace, r.ReuseRecord, r.LazyQuotes = -1, true, true, true
	head, err := r.Read()
	if err != nil {
		return fmt.Errorf("cannot read header of file: %w", err)
	}
	columns := make([]string, len(head))
	for i, name := range head {
		columns[i] = strings.ToLower(strings.TrimSpace(name))
		if !knownColumn(columns[i]) {
			return fmt.Errorf("cannot read header of file: column %d: %s", i+1, unknownColumn(columns[i]))
		}
	}
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		line, _ := 0, 0
		if err == nil {
			line, _ = r.FieldPos(0)
		}
		var broken *csv.ParseError
		switch {
		case errors.As(err, &broken):
			bad(LineError{Line: broken.StartLine, Why: broken.Err.Error(), code: "bad_csv"})
			continue
		case err != nil:
			return fmt.Errorf("cannot read file: %w", err)
		case len(fields) > len(columns):
			bad(LineError{Line: line, Why: fmt.Sprintf("got %d columns; want the %d of the header", len(fields), len(columns)), code: "bad_csv"})
			continue
		}
		row := make(map[string]string, len(fields))
		for i, v := range fields {
			row[columns[i]] = v
		}
		if err := fn(line, row); err != nil {
			return err
		}
	}
}

func knownColumn(name string) bool {
	trait, ok := strings.CutPrefix(name, traitPrefix)
	return ok && trait != "" && len(trait) <= maxName && !strings.ContainsAny(trait, " \t\"") || slices.Contains(listColumns, name)
}

func unknownColumn(name string) string {
	return fmt.Sprintf("got %.64q; want one of %s or trait.<name>", name, strings.Join(listColumns, ", "))
}
