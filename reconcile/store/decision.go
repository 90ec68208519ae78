package store

import (
	"context"
	"database/sql"
	"time"
)

// keepApprovals bounds the approvals that are remembered.
const keepApprovals = 100

const (
	anchorKey = ownKeys + "anchor"
	rewindKey = ownKeys + "rewind"
	holdKey   = ownKeys + "hold"
)

// Anchor returns the last revision that was accepted as genuine, "" for none.
// It is kept here and not in the mirror, which can be thrown away.
func (s *Store) Anchor(ctx context.Context) (string, error) {
	var rev string
	_, err := s.value(ctx, anchorKey, &rev)
	return rev, err
}

// SetAnchor moves the anchor, also through a power cut, and takes back an
// accepted rewind to the same revision: it has been used.
func (s *Store) SetAnchor(ctx context.Context, rev string) error {
	return s.write(ctx, "set anchor", throughPower, func(tx *sql.Tx) error {
		if err := put(ctx, tx, anchorKey, rev); err != nil {
			return err
		}
		var w word
		if _, err := get(ctx, tx, rewindKey, &w); err != nil || w.Revision != rev {
			return err
		}
		return put(ctx, tx, rewindKey, nil)
	})
}

// word is a person's word on a revision.
type word struct {
	Revision string    `json:"revision"`
	By       string    `json:"by"`
	At       time.Time `json:"at"`
}

// AcceptRewind lets the anchor move to a revision that is not ahead of it. It
// replaces the rewind that was accepted before.
func (s *Store) AcceptRewind(ctx context.Context, rev, by string) error {
	return s.write(ctx, "accept rewind", throughPower, func(tx *sql.Tx) error {
		return put(ctx, tx, rewindKey, word{rev, by, time.Now()})
	})
}

// RewindAccepted returns the revision that a person accepted a rewind to, "" for none.
func (s *Store) RewindAccepted(ctx context.Context) (string, error) {
	var w word
	_, err := s.value(ctx, rewindKey, &w)
	return w.Revision, err
}

// Approve notes that a person approved what a revision removes.
func (s *Store) Approve(ctx context.Context, rev, by string) error {
	return s.write(ctx, "approve revision", throughPower, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			"INSERT INTO approval (revision, by, at) VALUES (?,?,?) ON CONFLICT DO NOTHING", rev, by, toNanos(time.Now()))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM approval WHERE id <= (SELECT max(id) FROM approval) - ?", keepApprovals)
		return err
	})
}

// Approved reports whether a person approved what a revision removes.
func (s *Store) Approved(ctx context.Context, rev string) (bool, error) {
	found, err := rows(ctx, s, "read approval", func(r *sql.Rows) (n int, err error) { return n, r.Scan(&n) },
		"SELECT 1 FROM approval WHERE revision = ?", rev)
	return len(found) > 0, err
}

// Hold says that the host stays at its last good revision, and why.
type Hold struct {
	Revision string    `json:"revision"` // the one that failed
	Reason   string    `json:"reason"`
	Logs     []string  `json:"logs,omitempty"` // the last lines of the instance that failed
	At       time.Time `json:"at"`             // Hold takes zero as now
}

// Hold notes a hold in place of the one before; it lasts until ClearHold.
func (s *Store) Hold(ctx context.Context, h Hold) error {
	if h.At.IsZero() {
		h.At = time.Now()
	}
	return s.write(ctx, "note hold", throughPower, func(tx *sql.Tx) error { return put(ctx, tx, holdKey, h) })
}

// Held returns the hold in force; false when there is none.
func (s *Store) Held(ctx context.Context) (h Hold, held bool, err error) {
	held, err = s.value(ctx, holdKey, &h)
	return h, held, err
}

// ClearHold ends the hold, if there is one.
func (s *Store) ClearHold(ctx context.Context) error {
	return s.write(ctx, "clear hold", throughPower, func(tx *sql.Tx) error { return put(ctx, tx, holdKey, nil) })
}

// ClearHoldOf ends the hold if it is of a revision, and reports whether it was.
func (s *Store) ClearHoldOf(ctx context.Context, revision string) (was bool, err error) {
	err = s.write(ctx, "clear hold", throughPower, func(tx *sql.Tx) error {
		var h Hold
		held, err := get(ctx, tx, holdKey, &h)
		if was = held && h.Revision == revision; err != nil || !was {
			return err
		}
		return put(ctx, tx, holdKey, nil)
	})
	return was, err
}

// Pause says that a person holds a service, or with Service "*" the host.
type Pause struct {
	Service string
	Reason  string
	By      string
	Since   time.Time // Pause takes zero as now
	Until   time.Time // zero = until Resume
}

// Pause notes a pause in place of an earlier one of the same service.
func (s *Store) Pause(ctx context.Context, p Pause) error {
	if p.Since.IsZero() {
		p.Since = time.Now()
	}
	_, err := s.exec(ctx, "pause "+p.Service, throughPower,
		"INSERT OR REPLACE INTO pause (service, reason, by, since, until) VALUES (?,?,?,?,?)",
		p.Service, p.Reason, p.By, toNanos(p.Since), toNanos(p.Until))
	return err
}

// Resume ends the pause of a service ("*" for the host's own) and reports
// whether there was one in force.
func (s *Store) Resume(ctx context.Context, service string) (bool, error) {
	inForce := false
	err := s.write(ctx, "resume "+service, throughPower, func(tx *sql.Tx) error {
		var until int64
		err := tx.QueryRowContext(ctx, "DELETE FROM pause WHERE service = ? RETURNING until", service).Scan(&until)
		if err == sql.ErrNoRows {
			return nil
		}
		inForce = until == 0 || until > time.Now().UnixNano()
		return err
	})
	return inForce, err
}

// Pauses returns the pauses in force at now, by service.
func (s *Store) Pauses(ctx context.Context, now time.Time) ([]Pause, error) {
	scan := func(r *sql.Rows) (p Pause, err error) {
		var since, until int64
		err = r.Scan(&p.Service, &p.Reason, &p.By, &since, &until)
		p.Since, p.Until = fromNanos(since), fromNanos(until)
		return p, err
	}
	return rows(ctx, s, "read pauses", scan,
		"SELECT service, reason, by, since, until FROM pause WHERE until = 0 OR until > ? ORDER BY service", toNanos(now))
}
