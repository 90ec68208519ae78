package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// keepRevisions bounds the history of revisions; the last good one is kept besides.
const keepRevisions = 1000

// Outcome is how the attempt to apply a revision ended; "" while it has not.
type Outcome string

// The outcomes.
const (
	Applied    Outcome = "applied"    // it is the last good revision
	Failed     Outcome = "failed"     // it could not be read, checked or carried out
	Reverted   Outcome = "reverted"   // it failed and the last good one was put back
	Refused    Outcome = "refused"    // trust or a guard said no; nothing was changed
	Superseded Outcome = "superseded" // a newer revision took over
)

// Revision is one commit as it was attempted.
type Revision struct {
	Hash    string
	Subject string
	Author  string
	Signer  string
	Source  string
	At      time.Time // when it was attempted; Attempt takes zero as now
}

// Attempt is one try at a Revision and how it ended.
type Attempt struct {
	ID int64
	Revision
	Outcome Outcome
	Message string
	Took    time.Duration
}

const attemptColumns = "id, hash, subject, author, signer, source, at, outcome, message, took"

func scanAttempt(r interface{ Scan(...any) error }) (a Attempt, err error) {
	var at int64
	err = r.Scan(&a.ID, &a.Hash, &a.Subject, &a.Author, &a.Signer, &a.Source, &at, &a.Outcome, &a.Message, &a.Took)
	a.At = fromNanos(at)
	return a, err
}

// Attempt notes that a revision is being applied and returns the id for Finish.
func (s *Store) Attempt(ctx context.Context, r Revision) (id int64, err error) {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	err = s.write(ctx, "note revision "+r.Hash, throughPower, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx,
			"INSERT INTO revision (hash, subject, author, signer, source, at) VALUES (?,?,?,?,?,?) RETURNING id",
			r.Hash, r.Subject, r.Author, r.Signer, r.Source, toNanos(r.At)).Scan(&id)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM revision WHERE id <= ? AND id IS NOT
			(SELECT max(id) FROM revision WHERE outcome = ?)`, id-keepRevisions, Applied)
		return err
	})
	return id, err
}

// Finish notes how an attempt ended. Once it returns, a revision that was
// Applied is the last good one, also after a power cut.
func (s *Store) Finish(ctx context.Context, id int64, outcome Outcome, message string, took time.Duration) error {
	n, err := s.exec(ctx, "note outcome of revision", throughPower,
		"UPDATE revision SET outcome = ?, message = ?, took = ? WHERE id = ?", outcome, message, int64(took), id)
	if err == nil && n == 0 {
		return fmt.Errorf("note outcome of revision: no attempt %d", id)
	}
	return err
}

// Applied returns the last good revision; false when none ever was.
func (s *Store) Applied(ctx context.Context) (Revision, bool, error) {
	a, ok, err := s.attempt(ctx, "read last good revision", "WHERE outcome = ?", Applied)
	return a.Revision, ok, err
}

// Attempted returns the newest attempt; false when there was none. Its Outcome
// is "" when it is under way, or when the daemon died in it.
func (s *Store) Attempted(ctx context.Context) (Attempt, bool, error) {
	return s.attempt(ctx, "read newest revision", "")
}

func (s *Store) attempt(ctx context.Context, what, where string, args ...any) (Attempt, bool, error) {
	row := s.db.QueryRowContext(ctx, "SELECT "+attemptColumns+" FROM revision "+where+" ORDER BY id DESC LIMIT 1", args...)
	a, err := scanAttempt(row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Attempt{}, false, nil
	case err != nil:
		return Attempt{}, false, fmt.Errorf("%s: %w", what, err)
	}
	return a, true, nil
}

// Revisions returns the newest attempts, newest first.
func (s *Store) Revisions(ctx context.Context, limit int) ([]Attempt, error) {
	return rows(ctx, s, "read revisions", func(r *sql.Rows) (Attempt, error) { return scanAttempt(r) },
		"SELECT "+attemptColumns+" FROM revision ORDER BY id DESC LIMIT ?", limit)
}
