package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tenement/ten/reconcile/plan"
)

const (
	dialTimeout = 3 * time.Second
	callTimeout = 60 * time.Second
	maxErrBody  = 64 << 10
)

// Client speaks to a daemon. It is a Viewer, an Actor and Logs, so that what
// works beside a daemon works away from it. It is safe for concurrent use.
type Client struct {
	http  *http.Client
	base  string
	where string
	token string
	under string // what stands before the paths of what ten itself asks
}

var (
	_ Viewer = (*Client)(nil)
	_ Actor  = (*Client)(nil)
	_ Logs   = (*Client)(nil)
)

// NewClient makes a client of the daemon at server: "unix:///path" to its
// socket or data directory, or "http://host:port". Nothing is dialled yet.
func NewClient(server string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", server, err)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		path := u.Path
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = SocketPath(path)
		}
		return unixClient(path), nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return &Client{http: &http.Client{}, base: strings.TrimSuffix(server, "/"), where: server, under: "/api"}, nil
	}
	return nil, fmt.Errorf("server %q: want unix:///path or http://host:port", server)
}

// NewLocalClient makes a client of the daemon of a data directory.
func NewLocalClient(dataDir string) *Client { return unixClient(SocketPath(dataDir)) }

func unixClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dialUnix(ctx, path)
	}
	return &Client{
		http:  &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}},
		base:  "http://ten",
		where: "unix://" + path,
	}
}

// WithToken gives a client that shows a token with every request.
func (c *Client) WithToken(token string) *Client {
	with := *c
	with.token = token
	return &with
}

// Where is the address of the daemon, as a person may pass it to --server.
func (c *Client) Where() string { return c.where }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status implements Viewer.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var v Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, nil, &v)
	return v, err
}

// Instances implements Viewer.
func (c *Client) Instances(ctx context.Context, all bool) ([]Instance, error) {
	q := url.Values{}
	if all {
		q.Set("all", "1")
	}
	var v struct{ Instances []Instance }
	err := c.call(ctx, http.MethodGet, "/v1/instances", q, nil, &v)
	return v.Instances, err
}

// Observe implements Viewer.
func (c *Client) Observe(ctx context.Context, ask Ask) (plan.Observed, error) {
	var v plan.Observed
	err := c.call(ctx, http.MethodPost, "/v1/observe", nil, ask, &v)
	return v, err
}

// Why implements Viewer.
func (c *Client) Why(ctx context.Context, service string) (Why, error) {
	var v Why
	err := c.call(ctx, http.MethodGet, "/v1/why", url.Values{"service": {service}}, nil, &v)
	return v, err
}

// History implements Viewer.
func (c *Client) History(ctx context.Context, limit int) ([]Entry, error) {
	q := url.Values{}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var v struct{ History []Entry }
	err := c.call(ctx, http.MethodGet, "/v1/history", q, nil, &v)
	return v.History, err
}

// Do implements Actor. The server overwrites By. Only ctx bounds it: to stop or
// wake an instance takes as long as the instance's own settings allow.
func (c *Client) Do(ctx context.Context, cmd Command) (string, error) {
	var v struct{ Text string }
	err := c.exchange(ctx, http.MethodPost, "/v1/command", nil, cmd, &v)
	return v.Text, err
}

// Apply implements Actor. report gets every event, the last one included; the
// error is that of the last one. When ctx ends the daemon goes on alone.
func (c *Client) Apply(ctx context.Context, r ApplyRequest, report func(Event)) error {
	resp, err := c.send(ctx, http.MethodPost, "/v1/apply", nil, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	for {
		var e Event
		if err := d.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &Error{Code: CodeInternal, Message: "the daemon went away before it told the outcome", Hint: "see: ten status"}
		}
		report(e)
		switch {
		case e.Done && e.Error != "":
			return &Error{Code: e.Code, Message: e.Error, Hint: e.Hint}
		case e.Done:
			return nil
		}
	}
}

// Write implements Logs.
func (c *Client) Write(ctx context.Context, w io.Writer, q LogQuery) error {
	v := url.Values{}
	for key, value := range map[string]string{"service": q.Service, "id": q.Instance, "level": q.Level, "search": q.Search} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Follow {
		v.Set("follow", "1")
	}
	resp, err := c.send(ctx, http.MethodGet, "/v1/logs", v, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("read logs: %w", err)
	}
	if text := resp.Trailer.Get(errTrailer); text != "" {
		return &Error{Code: CodeInternal, Message: text}
	}
	return nil
}

// call makes one request that is answered whole and soon.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.exchange(ctx, method, path, q, body, into)
}

func (c *Client) exchange(ctx context.Context, method, path string, q url.Values, body, into any) error {
	resp, err := c.send(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.where, err)
	}
	return nil
}

// send makes a request and turns every refusal into a typed error.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	if strings.HasPrefix(path, "/v1/") {
		path = c.under + path
	}
	target := c.base + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.reachError(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.readError(resp)
}

// reachError tells "nobody there" from "not allowed in" and from a broken line.
func (c *Client) reachError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // its text repeats the made-up URL of the socket
	}
	if errors.Is(err, os.ErrPermission) {
		return &Error{Code: CodeForbidden, Message: fmt.Sprintf("may not connect to %s", c.where), Hint: "run the command as the user of the daemon, or as root; members of its group (tenement, after ten install) may look"}
	}
	if op, ok := errors.AsType[*net.OpError](err); (ok && op.Op == "dial") || errors.Is(err, os.ErrNotExist) {
		return &NotRunningError{Where: c.where, Err: err}
	}
	return fmt.Errorf("ask %s: %w", c.where, err)
}

// readError makes of a refusal what the server meant by it; some say nothing
// but their status.
func (c *Client) readError(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrBody))
	var e Error
	if json.Unmarshal(data, &e) == nil && e.Message != "" {
		return &e
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token == "":
		return &Error{Code: CodeNoToken, Message: c.where + " wants a token", Hint: "--token TOKEN or TENEMENT_TOKEN; on its host ten token-gen makes one"}
	case resp.StatusCode == http.StatusUnauthorized:
		return &Error{Code: CodeNoToken, Message: c.where + " does not know this token", Hint: "it may be revoked, expired or replaced: ten token-gen on its host makes a new one"}
	case resp.StatusCode == http.StatusTooManyRequests:
		return &Error{Code: CodeBusy, Message: c.where + " had too many bad tokens from this address", Hint: "wait some seconds and try again"}
	}
	return &Error{Code: CodeInternal, Message: "unexpected answer " + resp.Status, Hint: "does a ten daemon answer at this address?"}
}
