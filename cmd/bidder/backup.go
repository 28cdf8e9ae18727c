package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"rebound/events"
	"rebound/internal/cli"
	"rebound/journal"
)

// keptFiles are the files of a data folder that a backup contains in addition to the
// log of facts and the checkpoints. The bid log and the configurations archived for it
// are not needed to continue and are left out; they can be copied like any folder.
var keptFiles = []string{"keys.json", "blind.json"}

// backup copies everything that is needed to continue with a data folder elsewhere.
func (p *program) backup(_ context.Context, args []string) int {
	fs := p.flags("backup")
	data := fs.String("data", "./data", "data `folder`, which may be in use")
	to, status, done := p.parseWithFile(fs, args)
	if done {
		return status
	}
	if err := p.copyData(*data, to); err != nil {
		fmt.Fprintln(p.stderr, fmt.Errorf("cannot make backup: %w", err))
		return cli.ExitFailed
	}
	report, err := journal.Verify(journal.FactsDir(to), events.Position{}, nil)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintf(p.stdout, "%s holds %d facts up to %d:%s\n", to, report.Facts, report.Last.Seq, report.Last.Hash)
	if !report.OK() {
		fmt.Fprintln(p.stdout, "the log is damaged, and so is the backup: run \"bidder verify\"")
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// restore creates a data folder from a backup. A bidder that uses it is blind
// for money until an operator confirms that nothing was spent since, which a
// backup cannot show.
func (p *program) restore(_ context.Context, args []string) int {
	fs := p.flags("restore")
	data := fs.String("data", "./data", "data `folder` to create; must be empty or absent")
	old := fs.String("reapply", "", "data `folder` that the backup replaces: the opt-outs and erasures in its log that the backup does not contain are repeated")
	from, status, done := p.parseWithFile(fs, args)
	if done {
		return status
	}
	err := mustBeEmpty(*data)
	if err == nil {
		err = p.copyData(from, *data)
	}
	var report *journal.Report
	if err == nil {
		report, err = journal.Verify(journal.FactsDir(*data), events.Position{}, nil)
	}
	if err == nil {
		reason := fmt.Sprintf("the data folder was restored from %s, which ends with fact %d; the spend after that is unknown", filepath.Base(from), report.Last.Seq)
		err = journal.WriteBlind(*data, journal.FactsDir(*data), reason, report.Last.Seq, p.now())
	}
	if err == nil && *old != "" {
		err = p.reapply(*data, *old)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, fmt.Errorf("cannot restore: %w", err))
		return cli.ExitFailed
	}
	fmt.Fprintf(p.stdout, "%s holds %d facts up to %d:%s\n", *data, report.Facts, report.Last.Seq, report.Last.Hash)
	fmt.Fprintln(p.stdout, "the bidder is blind for money until \"bidder log accept-loss\" says that nothing after that fact is missing, or \"bidder log repair\" puts it back")
	if !report.OK() {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

func mustBeEmpty(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(list) > 0 {
		return fmt.Errorf("got %d entries in %s; want an empty folder", len(list), dir)
	}
	return nil
}

// copyData copies keys, log and checkpoints.
func (p *program) copyData(from, to string) error {
	if err := mustBeEmpty(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(from, "keys.json")); err != nil {
		return fmt.Errorf("got no keys.json in %s; want a data folder or a backup: %w", from, err)
	}
	for _, name := range keptFiles {
		if err := copyOne(filepath.Join(from, name), filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := journal.CopyCheckpoints(from, to); err != nil {
		return err
	}
	return journal.CopyFacts(journal.FactsDir(from), filepath.Join(to, "log", "facts"))
}

func copyOne(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	return writeSynced(to, b)
}
