package longrun

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Outputs are the files that a run writes.
type Outputs struct {
	flags   []string // in the order of Add
	paths   map[string]string
	created []string // files that Check created and nothing has written yet
}

// Add registers the file that a flag names; an empty path means that the flag was not
// given.
func (o *Outputs) Add(flag, path string) {
	if path == "" {
		return
	}
	if o.paths == nil {
		o.paths = map[string]string{}
	}
	o.flags = append(o.flags, flag)
	o.paths[flag] = filepath.Clean(path)
}

// Check returns an error that names the flag if a file cannot be written, or if two
// flags, or a flag and one of the inputs, name the same file. It creates the files
// that do not exist; Discard removes those that were never written.
func (o *Outputs) Check(inputs ...string) error {
	for i, flag := range o.flags {
		path := o.paths[flag]
		if err := o.open(flag, path); err != nil {
			return errors.Join(err, o.Discard())
		}
		for _, other := range o.flags[:i] {
			if sameFile(path, o.paths[other]) {
				return errors.Join(fmt.Errorf("cannot write --%s: got the file of --%s, %s; want two files", flag, other, path), o.Discard())
			}
		}
		for _, in := range inputs {
			if sameFile(path, in) {
				return errors.Join(fmt.Errorf("cannot write --%s: %s is an input of this run; want another file", flag, path), o.Discard())
			}
		}
	}
	return nil
}

func (o *Outputs) open(flag, path string) error {
	_, err := os.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write --%s: want a file that can be written: %w", flag, err)
	}
	if missing {
		o.created = append(o.created, path)
	}
	return f.Close()
}

// sameFile reports whether two paths name one regular file. A device such as
// /dev/stdout may be named twice.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil || !x.Mode().IsRegular() {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// Discard removes the files that Check created and that are still empty. Call it when
// the run ends.
func (o *Outputs) Discard() error {
	var errs []error
	for _, path := range o.created {
		if info, err := os.Stat(path); err == nil && info.Size() == 0 {
			errs = append(errs, os.Remove(path))
		}
	}
	o.created = nil
	return errors.Join(errs...)
}

// WriteFile replaces the contents of a file; an empty path writes nothing.
func WriteFile(path string, write func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	out, err := os.Create(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("cannot write file: %w", err)
	}
	buffered := bufio.NewWriter(out)
	return errors.Join(write(buffered), buffered.Flush(), out.Close())
}
