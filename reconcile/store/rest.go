package store

import (
	"context"
	"database/sql"
)

// Rest says of an instance that somebody asked for it (Awake), or that it was
// put to sleep. One of which neither was said has no Rest.
type Rest struct {
	Service  string
	Instance string // the id within the service
	Awake    bool
}

// SetRest notes it, through any death of the daemon and without a wait for the
// disk: a request waits for this. After a power cut nothing runs that it could
// be wrong about.
func (s *Store) SetRest(ctx context.Context, r Rest) error {
	_, err := s.exec(ctx, "note who is awake", throughKill,
		"INSERT OR REPLACE INTO rest (service, instance, awake) VALUES (?,?,?)", r.Service, r.Instance, r.Awake)
	return err
}

// DropRests forgets what was said of instances.
func (s *Store) DropRests(ctx context.Context, rests []Rest) error {
	return s.write(ctx, "forget who is awake", throughKill, func(tx *sql.Tx) error {
		for _, r := range rests {
			if _, err := tx.ExecContext(ctx, "DELETE FROM rest WHERE service = ? AND instance = ?", r.Service, r.Instance); err != nil {
				return err
			}
		}
		return nil
	})
}

// Rests returns all of them, by service and instance.
func (s *Store) Rests(ctx context.Context) ([]Rest, error) {
	scan := func(r *sql.Rows) (x Rest, err error) { return x, r.Scan(&x.Service, &x.Instance, &x.Awake) }
	return rows(ctx, s, "read who is awake", scan, "SELECT service, instance, awake FROM rest ORDER BY service, instance")
}
