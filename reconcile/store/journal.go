package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// keepEntries bounds the journal; it is cut back once every trimEvery entries.
const (
	keepEntries = 10_000
	trimEvery   = 256
)

// Intent is an operation that is about to be done. An empty Service means the host.
type Intent struct {
	Revision   string
	Service    string
	Instance   string // the id within the service
	Generation uint64
	Op         string
	Reason     string
	At         time.Time // Begin takes zero as now
}

// Entry is an Intent with its end.
type Entry struct {
	ID int64
	Intent
	Ended  bool
	Result string // "ok", or what went wrong
	Took   time.Duration
}

const entryColumns = "id, at, revision, service, instance, generation, op, reason, result, took"

func scanEntry(r *sql.Rows) (e Entry, err error) {
	var at, generation int64
	var result sql.NullString
	err = r.Scan(&e.ID, &at, &e.Revision, &e.Service, &e.Instance, &generation, &e.Op, &e.Reason, &result, &e.Took)
	e.At, e.Generation = fromNanos(at), uint64(generation)
	e.Ended, e.Result = result.Valid, result.String
	return e, err
}

// Begin notes an operation before it is done and returns the id for End. The
// note outlives any death of the daemon.
func (s *Store) Begin(ctx context.Context, in Intent) (id int64, err error) {
	if in.At.IsZero() {
		in.At = time.Now()
	}
	err = s.write(ctx, "journal "+in.Op+" of "+in.Service+":"+in.Instance, throughKill, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `INSERT INTO journal (at, revision, service, instance, generation, op, reason)
			VALUES (?,?,?,?,?,?,?) RETURNING id`,
			toNanos(in.At), in.Revision, in.Service, in.Instance, int64(in.Generation), in.Op, in.Reason).Scan(&id)
		if err != nil || id%trimEvery != 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM journal WHERE id <= ?", id-keepEntries)
		return err
	})
	return id, err
}

// End notes how an operation ended. Ending what was trimmed meanwhile is not an error.
func (s *Store) End(ctx context.Context, id int64, result string, took time.Duration) error {
	_, err := s.exec(ctx, "journal the end of an operation", throughKill,
		"UPDATE journal SET result = ?, took = ? WHERE id = ?", result, int64(took), id)
	return err
}

// Journal returns the newest entries of a service ("" for all), newest first.
func (s *Store) Journal(ctx context.Context, service string, limit int) ([]Entry, error) {
	if service == "" {
		return rows(ctx, s, "read journal", scanEntry,
			"SELECT "+entryColumns+" FROM journal ORDER BY id DESC LIMIT ?", limit)
	}
	return rows(ctx, s, "read journal", scanEntry,
		"SELECT "+entryColumns+" FROM journal WHERE service = ? ORDER BY id DESC LIMIT ?", service, limit)
}

// Interrupted returns, oldest first, what earlier runs began and never ended:
// the daemon died in it. Whoever has looked at such an operation calls End for
// it, and it is shown here no more.
func (s *Store) Interrupted(ctx context.Context) ([]Entry, error) {
	return rows(ctx, s, "read interrupted operations", scanEntry,
		"SELECT "+entryColumns+" FROM journal WHERE result IS NULL AND id <= ? ORDER BY id", s.last)
}

// generationBlock is how many generations one write reserves; a restart skips
// the rest of a block.
const generationBlock = 100

const generationKey = ownKeys + "generation"

// generations hands out numbers from a reserved block. The channel is a lock
// that a context can give up waiting for.
type generations struct {
	lock        chan struct{}
	next, limit uint64 // next is free while it is below limit
}

func newGenerations() generations { return generations{lock: make(chan struct{}, 1)} }

// NextGeneration returns a number greater than any it returned before, in this
// run or an earlier one. One call in a hundred writes to disk.
func (s *Store) NextGeneration(ctx context.Context) (uint64, error) {
	select {
	case s.gens.lock <- struct{}{}:
	case <-ctx.Done():
		return 0, fmt.Errorf("reserve generations: %w", ctx.Err())
	}
	defer func() { <-s.gens.lock }()
	if s.gens.next == s.gens.limit {
		if err := s.reserve(ctx, 0); err != nil {
			return 0, err
		}
	}
	n := s.gens.next
	s.gens.next++
	return n, nil
}

// SawGeneration makes NextGeneration go on above n. Call it with the highest
// generation found on the machine: a new state file knows nothing of the
// instances that outlived the old one.
func (s *Store) SawGeneration(ctx context.Context, n uint64) error {
	select {
	case s.gens.lock <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("reserve generations: %w", ctx.Err())
	}
	defer func() { <-s.gens.lock }()
	if n < s.gens.next {
		return nil
	}
	return s.reserve(ctx, n)
}

// reserve takes the next block, above floor, for this run.
func (s *Store) reserve(ctx context.Context, floor uint64) error {
	var used uint64
	err := s.write(ctx, "reserve generations", throughPower, func(tx *sql.Tx) error {
		if _, err := get(ctx, tx, generationKey, &used); err != nil {
			return err
		}
		used = max(used, floor)
		return put(ctx, tx, generationKey, used+generationBlock)
	})
	if err != nil {
		return err
	}
	s.gens.next, s.gens.limit = used+1, used+1+generationBlock
	return nil
}
