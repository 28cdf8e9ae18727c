package journal

import "rebound/events"

// View is a deterministic fold of the log. One goroutine, that of Follow, calls its
// methods, except Name and Position, which may be called at any time.
type View interface {
	// Name names the view in logs, metrics and the folder of checkpoints:
	// [a-z0-9_-]. It never changes.
	Name() string
	// Position returns the position of the last fact applied
	// (events.Fact.Position); zero if the view is empty. It survives a restart
	// together with the data.
	Position() events.Position
	// Apply folds facts in order of Seq and stores the position of the last one in
	// the same atomic batch. The facts are shared with other views: they may be
	// kept, but not changed. When the log no longer begins with its first fact, the
	// facts of its base file come first, all with the Seq of the last one that they
	// replace. An error ends Follow.
	Apply(facts []events.Fact) error
}

// Checkpointer is a view that can be copied and restored from a copy.
type Checkpointer interface {
	// Checkpoint writes a copy of the view, position included, to dir, which does
	// not exist yet; its parent does.
	Checkpoint(dir string) error
	// Restore replaces the view by the copy in dir, which stays as it is.
	Restore(dir string) error
	// Reset empties the view; its position is zero afterwards.
	Reset() error
}

// Witness is a view with state that must be recorded before the view is
// restored to an earlier position: for the money view, the amounts that each
// budget had settled and held.
type Witness interface {
	Witness() ([]byte, error) // a JSON value
}
