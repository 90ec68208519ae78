package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tenement/ten/runtimes"
)

// What a client asks beside Viewer, Actor and Logs.

var _ AuditViewer = (*Client)(nil)

// Health asks an instance at this moment how it is, in one word.
func (c *Client) Health(ctx context.Context, id runtimes.ID) (string, error) {
	var v struct{ Health string }
	err := c.call(ctx, http.MethodGet, "/api/instances/"+url.PathEscape(id.String())+"/health", nil, nil, &v)
	return v.Health, err
}

// Tokens lists the tokens of the host.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	var v struct{ Tokens []Token }
	err := c.call(ctx, http.MethodGet, "/api/tokens", nil, nil, &v)
	return v.Tokens, err
}

// CreateToken makes a token; the answer is the only place where it stands.
func (c *Client) CreateToken(ctx context.Context, q TokenRequest) (NewToken, error) {
	var v NewToken
	err := c.call(ctx, http.MethodPost, "/api/tokens", nil, q, &v)
	return v, err
}

// RevokeToken ends a token, named by its id or prefix, before it returns.
func (c *Client) RevokeToken(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/api/tokens/"+url.PathEscape(name), nil, nil, nil)
}

// Acts implements AuditViewer.
func (c *Client) Acts(ctx context.Context, limit int) (AuditLog, error) {
	q := url.Values{}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var v AuditLog
	err := c.call(ctx, http.MethodGet, "/api/audit", q, nil, &v)
	return v, err
}
