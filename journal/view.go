package journal

import "rebound/events"

// View is a deterministic fold of the log. Follow calls its methods from one
// goroutine, but for Position, which may be read at any time.
type View interface {
	// Name names the view in logs, metrics and the checkpoints folder:
	// [a-z0-9_-]. It never changes.
	Name() string
	// Position is that of the last fact applied (events.Fact.Position of it);
	// zero when empty. It survives a restart together with the data.
	Position() events.Position
	// Apply folds facts, in order of Seq, and stores the position of the last
	// one in the same atomic batch. The facts may be kept. A fact at or below
	// the position is never handed over again. An error ends Follow.
	Apply(facts []events.Fact) error
	// Checkpoint writes a copy of the view, position included, to dir, which
	// does not exist yet; its parent does.
	Checkpoint(dir string) error
	// Restore replaces the view by the copy in dir that Checkpoint wrote. It
	// copies: dir stays as it is.
	Restore(dir string) error
	// Reset empties the view; its position is zero afterwards.
	Reset() error
}
