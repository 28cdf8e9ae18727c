package reports

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the database of the rollups, in pure Go

	"rebound/events"
)

// version is that of the rollups: of what is counted and how it is stored. A store of
// another version is rebuilt from the logs.
const version = 2

// Options of a [Store].
type Options struct {
	// Path is the file of the rollups; it and its folder are created. An empty path keeps
	// them in memory.
	Path string
	// BidDir is the folder of the bid log. It may be missing.
	BidDir string
	// Facts calls fn with the facts after a position, in order. It fails if the log does
	// not hold that position.
	Facts func(ctx context.Context, after events.Position, fn func([]events.Fact) error) error
	// Quarters stores sums by the quarter of an hour, for time zones whose offset is no
	// whole number of hours. A store with another grain is rebuilt.
	Quarters bool
	// Keep is how long after a bid its notices are charged. Bids are forgotten then: later
	// notices count without what only the bid's record says. 0: 8 days.
	Keep time.Duration
	// Rest is called after each small piece of work and may wait, so that the rest of the
	// process has the processor. nil: it does not wait.
	Rest func(ctx context.Context) error
	// Progress is called during an update with what it has counted so far; nil: none.
	Progress func(Progress)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Broken is called for each line of the bid log that cannot be read; nil: none.
	Broken func(error)

	cubes []cube // nil: all
	cells int    // sums that are kept in memory; 0: maxCells
	words int    // texts after which further ones from outside count as otherWord; 0: maxWords
}

// Store holds the rollups. It is safe for concurrent use, also by several processes.
type Store struct {
	o     Options
	db    *sql.DB
	grain int64
	cubes []cube

	building chan struct{} // has one element while nobody builds
	step     *step         // nil: the state has to be loaded; only the builder uses it
	record   record        // the present one
}

// maxCells bounds the sums that are kept in memory until they are committed, of about
// 150 bytes each.
const maxCells = 150_000

// ErrBusy means that another process kept the rollups locked.
var ErrBusy = errors.New("rollups are locked by another process")

// Open opens the rollups, or creates them. Those of another version, of another grain or
// damaged ones are emptied; the next Update fills them from the logs.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Broken == nil {
		o.Broken = func(error) {}
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	s := &Store{o: o, grain: hourGrain, cubes: o.cubes, building: make(chan struct{}, 1)}
	s.building <- struct{}{}
	if s.cubes == nil {
		s.cubes = cubes
	}
	if s.o.cells == 0 {
		s.o.cells = maxCells
	}
	if s.o.words == 0 {
		s.o.words = maxWords
	}
	if s.o.Keep == 0 {
		s.o.Keep = 8 * 24 * time.Hour
	}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	if o.Quarters {
		s.grain = quarterGrain
	}
	if o.Path != "" {
		if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
			return nil, fmt.Errorf("cannot make folder of reports: %w", err)
		}
	}
	err := s.open(ctx)
	if err != nil && isDamaged(err) {
		err = errors.Join(s.discard(), s.open(ctx))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open rollups %s: %w", o.Path, err), s.Close())
	}
	return s, nil
}

// lockWait is how long to wait for another process that builds.
const lockWait = 20 * time.Second

func (s *Store) open(ctx context.Context) error {
	name := "file::memory:"
	if s.o.Path != "" {
		name = (&url.URL{Scheme: "file", OmitHost: true, Path: s.o.Path}).String()
	}
	name += fmt.Sprintf("?_txlock=immediate&_pragma=busy_timeout(%d)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-32768)&_pragma=temp_store(MEMORY)", lockWait.Milliseconds())
	if s.o.Path != "" {
		name += "&_pragma=journal_mode(WAL)"
	}
	var err error
	if s.db, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	if s.o.Path == "" {
		s.db.SetMaxOpenConns(1) // each connection would have a database of its own
	}
	return s.prepare(ctx)
}

// Close closes the file.
func (s *Store) Close() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

// isDamaged reports whether the file is no readable database.
func isDamaged(err error) bool {
	return strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "not a database")
}

// isLocked reports whether another process held the lock for too long.
func isLocked(err error) bool {
	return strings.Contains(err.Error(), "SQLITE_BUSY") || strings.Contains(err.Error(), "database is locked")
}

// discard removes the file, which then is built again.
func (s *Store) discard() error {
	err := s.Close()
	for _, end := range []string{"", "-wal", "-shm"} {
		if rerr := os.Remove(s.o.Path + end); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// shape names what the tables hold.
func (s *Store) shape() string { return fmt.Sprintf("%d/%d", version, s.grain) }

// prepare creates the tables if they are missing or of another shape.
func (s *Store) prepare(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var shape string
	if _, err = tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"); err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'shape'").Scan(&shape)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if shape == s.shape() {
		return nil
	}
	if err := s.reset(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// reset empties the store.
func (s *Store) reset(ctx context.Context, tx *sql.Tx) error {
	tables, err := queryTexts(ctx, tx, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		return err
	}
	var list []string
	for _, t := range tables {
		list = append(list, "DROP TABLE \""+t+"\"")
	}
	list = append(list,
		"CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
		"CREATE TABLE files (name TEXT PRIMARY KEY, records INTEGER NOT NULL, bytes INTEGER NOT NULL, packed INTEGER NOT NULL) WITHOUT ROWID",
		"CREATE TABLE words (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
		"CREATE TABLE bids (id INTEGER PRIMARY KEY, minute INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL, orphans INTEGER NOT NULL, entries BLOB NOT NULL)",
		"CREATE INDEX bids_minute ON bids (minute)",
		"CREATE TABLE flags (id INTEGER PRIMARY KEY, flags BLOB NOT NULL)",
		"CREATE TABLE orders (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
		"CREATE TABLE currencies (advertiser TEXT PRIMARY KEY, currency TEXT NOT NULL) WITHOUT ROWID",
		"CREATE TABLE caps (budget TEXT PRIMARY KEY, cap INTEGER NOT NULL, currency TEXT NOT NULL) WITHOUT ROWID",
		"CREATE TABLE adjustments (budget TEXT, exchange TEXT, day TEXT, amount INTEGER, late INTEGER, currency TEXT, reason TEXT, seq INTEGER PRIMARY KEY)",
	)
	for i := range s.cubes {
		list = append(list, s.cubes[i].tables()...)
	}
	for _, text := range list {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	if _, err = tx.ExecContext(ctx, "INSERT INTO words VALUES (0, '')"); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO meta VALUES ('shape', ?), ('generation', '0'), ('broken', '0')", s.shape())
	return err
}

// tables returns the statements that create a cube: its sums by time, and by day of UTC.
// Dimensions are numbers of words.
func (c *cube) tables() (list []string) {
	var columns, names []string
	for _, d := range c.dims {
		columns = append(columns, dimNames[d]+" INTEGER NOT NULL")
		names = append(names, dimNames[d])
	}
	for _, m := range c.measures() {
		columns = append(columns, measureNames[m]+" INTEGER NOT NULL")
	}
	for _, of := range []string{"fine", "days"} {
		list = append(list, fmt.Sprintf("CREATE TABLE %s_%s (at INTEGER NOT NULL, %s, PRIMARY KEY (at, %s)) WITHOUT ROWID", c.name, of, strings.Join(columns, ", "), strings.Join(names, ", ")))
	}
	return list
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryTexts(ctx context.Context, q querier, query string, args ...any) (list []string, err error) {
	err = each(ctx, q, query, args, func(rows *sql.Rows) error {
		var text string
		err := rows.Scan(&text)
		list = append(list, text)
		return err
	})
	return list, err
}

// each calls fn for every row of a query.
func each(ctx context.Context, q querier, query string, args []any, fn func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err reports what went wrong
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
