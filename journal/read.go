package journal

import (
	"context"
	"errors"
	"math"

	"rebound/events"
)

// Read calls fn with the facts after a position, up to and including the sequence upTo, in
// order and in batches. After the zero position it begins with the first fact that the log
// holds. It may run while facts are appended. An error of fn ends it and is returned.
func (l *Log) Read(ctx context.Context, after events.Position, upTo uint64, fn func([]events.Fact) error) error {
	return l.files.read(ctx, after, min(upTo, l.Last().Seq), fn)
}

// ReadFolder calls fn with all facts of the log in a folder, which another process may be
// writing. It ends without an error at a line that is not complete yet.
func ReadFolder(ctx context.Context, factsDir string, fn func([]events.Fact) error) error {
	return ReadFolderAfter(ctx, factsDir, events.Position{}, fn)
}

// ErrElsewhere means that the log has another fact at a position: it is another log, or
// facts at its end were lost.
var ErrElsewhere = errElsewhere

// ReadFolderAfter is ReadFolder for the facts after a position. It fails with ErrElsewhere
// if the log has another fact there, and with a *GoneError if it begins later.
func ReadFolderAfter(ctx context.Context, factsDir string, after events.Position, fn func([]events.Fact) error) error {
	c, err := openCatalog(osDisk{}, factsDir)
	if err != nil {
		return err
	}
	err = c.read(ctx, after, math.MaxUint64, fn)
	var damage *DamageError
	if errors.As(err, &damage) {
		if files, _ := c.snapshot(); len(files) > 0 && damage.Seq >= files[len(files)-1].header.First {
			return nil // the last file grows while it is read; verify reports its damage
		}
	}
	return err
}

func (c *catalog) read(ctx context.Context, after events.Position, upTo uint64, fn func([]events.Fact) error) error {
	if files, _ := c.snapshot(); after.Seq == 0 {
		if len(files) == 0 {
			return nil
		}
		after.Seq, after.Hash = files[0].header.After, files[0].header.Previous
	}
	facts := make([]events.Fact, 0, applyFacts)
	flush := func() error {
		if len(facts) == 0 {
			return nil
		}
		err := fn(facts)
		facts = make([]events.Fact, 0, applyFacts)
		return err
	}
	err := c.walk(after, upTo, func(line *events.Line) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		facts = append(facts, events.Fact{})
		if err := line.Decode(&facts[len(facts)-1]); err != nil {
			return err
		}
		if len(facts) < applyFacts {
			return nil
		}
		return flush()
	})
	return errors.Join(flush(), err)
}
