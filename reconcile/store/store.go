// Package store remembers what the machine can't be asked: which revisions were
// attempted and applied, what people decided (pauses, approvals, accepted
// rewinds), the trust anchor, and a journal of intents.
//
// It never holds what runs. Losing the file costs history, decisions and the
// anchor, and no instance. What a person was told is kept even through a power
// cut; the journal and small values are kept through any death of the daemon,
// which is all they are for: after a power cut no instance is left to know of.
//
// One daemon opens a store at a time. All methods may be called from several
// goroutines.
package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrDamaged is in the error of Open when the file is no store of ours, or was one.
var ErrDamaged = errors.New("the state file is damaged")

// ErrNewer is in the error of Open when a newer ten wrote the file.
var ErrNewer = errors.New("the state file was written by a newer ten")

// Store is an open state file.
type Store struct {
	db   *sql.DB
	last int64 // the newest journal entry of earlier runs
	gens generations
}

// Open opens the state file at path, or makes it (mode 0600) where there is
// none; its directory must exist. A damaged or newer file is an error that says
// what to do, and stays as it is.
func Open(ctx context.Context, path string) (*Store, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(ctx, path); err != nil {
			return nil, fmt.Errorf("make state file %s: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("open state file: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("open state file %s: not a regular file; give another --data-dir", path)
	case info.Mode().Perm() != 0o600:
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, fmt.Errorf("open state file: %w", err)
		}
	}
	if err := ours(path); err != nil {
		return nil, explain(path, err)
	}
	s, err := open(ctx, path)
	if err != nil {
		return nil, explain(path, err)
	}
	return s, nil
}

// ours looks at the file's header before the database engine does, which would
// write to an empty file.
func ours(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var header [100]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return fmt.Errorf("%w: it ends within its header", ErrDamaged)
	}
	if !bytes.HasPrefix(header[:], []byte("SQLite format 3\x00")) {
		return fmt.Errorf("%w: it is not a database", ErrDamaged)
	}
	if binary.BigEndian.Uint32(header[68:]) != applicationID {
		return fmt.Errorf("%w: it is a database, but not a state file of ten", ErrDamaged)
	}
	return nil
}

// Close writes everything back into the one file and closes it.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close state file: %w", err)
	}
	return nil
}

// create builds a complete new store beside path and renames it into place, so
// that an empty or half-made file at path is always damage, never a beginning.
func create(ctx context.Context, path string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	fresh := f.Name()
	f.Close()
	defer func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(fresh + suffix)
		}
	}()
	db, err := connect(fresh)
	if err != nil {
		return err
	}
	err = migrate(ctx, db, migrations)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// A log left over from a file that somebody moved away would be replayed
	// into the new one.
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// connect opens one connection, for reading and writing alike: the daemon's
// traffic is small, and each connection costs memory. The page cache is kept at
// 256 KB for the same reason.
func connect(path string) (*sql.DB, error) {
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(5000)",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"cache_size(-256)",
		"temp_store(MEMORY)",
		"journal_size_limit(4194304)",
		"wal_autocheckpoint(1000)",
	}}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	return db, nil
}

func open(ctx context.Context, path string) (*Store, error) {
	db, err := connect(path)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, gens: newGenerations()}
	if err := s.check(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// check proves that the file is whole, brings it to this version's
// layout, and notes where this run's journal begins.
func (s *Store) check(ctx context.Context) error {
	var verdict string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, strings.ReplaceAll(verdict, "\n", " "))
	}
	if err := migrate(ctx, s.db, migrations); err != nil {
		return err
	}
	return s.db.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM journal").Scan(&s.last)
}

// explain says of a failed Open where, what and what to do.
func explain(path string, err error) error {
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() & 0xff {
		case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT:
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	switch {
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("open %s: %w; move it away with %s-wal and %s-shm and start again: "+
			"history, pauses and the trust anchor are lost, no instance is touched", path, err, path, path)
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("open %s: %w; run that version of ten again, or move the file away: "+
			"history, pauses and the trust anchor are lost, no instance is touched", path, err)
	}
	return fmt.Errorf("open state file %s: %w", path, err)
}

// durability is how much an acknowledged write survives.
type durability string

const (
	throughKill  durability = "NORMAL" // any death of the daemon; no fsync
	throughPower durability = "FULL"   // a power cut as well; one fsync
)

// write runs fn in one transaction.
func (s *Store) write(ctx context.Context, what string, d durability, fn func(*sql.Tx) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous="+string(d)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := fn(tx); err != nil {
		tx.Rollback()
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// exec is a write of one statement.
func (s *Store) exec(ctx context.Context, what string, d durability, query string, args ...any) (changed int64, err error) {
	err = s.write(ctx, what, d, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		changed, err = r.RowsAffected()
		return err
	})
	return changed, err
}

// rows reads all rows of a query, so that the one connection is free again.
func rows[T any](ctx context.Context, s *Store, what string, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	r, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer r.Close()
	var all []T
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		all = append(all, v)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return all, nil
}

// toNanos and fromNanos keep the zero time as 0.
func toNanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
