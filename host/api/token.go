package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tenement/ten/host/tokens"
)

// Token is what is shown of a token; never the token itself.
type Token struct {
	ID          string    `json:"id"`
	Tenant      string    `json:"tenant,omitempty"` // "" = admin
	Description string    `json:"description,omitempty"`
	Prefix      string    `json:"prefix"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"` // zero = never
}

// NewToken is a token that was just made, the only time that it is shown.
type NewToken struct {
	Token
	Secret string `json:"token"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Tenant      string    `json:"tenant,omitempty"`
	Description string    `json:"description,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
}

// ShowToken leaves out of a record what nobody needs to see.
func ShowToken(r tokens.Record) Token {
	return Token{ID: r.ID, Tenant: r.Tenant, Description: r.Description, Prefix: r.Prefix, CreatedAt: r.Created, ExpiresAt: r.Expires}
}

func (s *Server) listTokens(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Tokens.List(r.Context())
	shown := make([]Token, len(list))
	for i, t := range list {
		shown[i] = ShowToken(t)
	}
	return answer(w, map[string][]Token{"tokens": shown}, err)
}

func (s *Server) createToken(w http.ResponseWriter, r *http.Request) error {
	var q TokenRequest
	if err := decode(w, r, maxCommand, &q); err != nil {
		return err
	}
	var made NewToken
	err := s.audited(r, Act{Action: "token-gen", Target: q.Tenant, Detail: q.Description}, func() error {
		secret, record, err := s.Tokens.Create(r.Context(), tokens.Request{Tenant: q.Tenant, Description: q.Description, Expires: q.ExpiresAt})
		made = NewToken{ShowToken(record), secret}
		if _, bad := err.(*tokens.RequestError); bad {
			return &Error{Code: CodeInvalid, Message: err.Error()}
		}
		return err
	})
	return answerStatus(w, http.StatusCreated, made, err)
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	err := s.audited(r, Act{Action: "token-revoke", Detail: id}, func() error {
		_, ok, err := s.Tokens.Revoke(r.Context(), id)
		if err == nil && !ok {
			return &Error{Code: CodeNotFound, Message: fmt.Sprintf("no token %q", id), Hint: "ten tokens lists them"}
		}
		return err
	})
	return noContent(w, err)
}
