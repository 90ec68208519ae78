package store

import (
	"context"
	"database/sql"
	"time"
)

// Token is an API token as it is kept: enough to know it again, not enough to use it.
type Token struct {
	ID          string
	Tenant      string // "" = the admin's, of which there is one
	Description string
	Prefix      string // its first characters
	Hash        string
	Created     time.Time
	Expires     time.Time // zero = never
}

// PutToken keeps a token, also through a power cut. An admin's takes the place
// of the one before.
func (s *Store) PutToken(ctx context.Context, t Token) error {
	return s.write(ctx, "keep token", throughPower, func(tx *sql.Tx) error {
		if t.Tenant == "" {
			if _, err := tx.ExecContext(ctx, "DELETE FROM token WHERE tenant = ''"); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO token (id, tenant, description, prefix, hash, created, expires) VALUES (?,?,?,?,?,?,?)",
			t.ID, t.Tenant, t.Description, t.Prefix, t.Hash, toNanos(t.Created), toNanos(t.Expires))
		return err
	})
}

// Tokens returns all tokens, oldest first.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	scan := func(r *sql.Rows) (t Token, err error) {
		var created, expires int64
		err = r.Scan(&t.ID, &t.Tenant, &t.Description, &t.Prefix, &t.Hash, &created, &expires)
		t.Created, t.Expires = fromNanos(created), fromNanos(expires)
		return t, err
	}
	return rows(ctx, s, "read tokens", scan,
		"SELECT id, tenant, description, prefix, hash, created, expires FROM token ORDER BY created, id")
}

// RevokeToken forgets a token for good and reports whether there was one.
func (s *Store) RevokeToken(ctx context.Context, id string) (bool, error) {
	n, err := s.exec(ctx, "revoke token", throughPower, "DELETE FROM token WHERE id = ?", id)
	return n > 0, err
}
