// Package probe asks an instance whether it answers. A verdict rests on who
// accepts the connection and on the HTTP status alone, never on what the text
// of an answer happens to contain. No connection outlives its question.
package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds how much of an answer is read: its header, and interim answers before it.
const maxAnswer = 64 << 10

// Prober asks. The zero value works.
type Prober struct {
	// Timeout bounds one question: connecting, and again answering. Zero is 5 s.
	Timeout time.Duration
}

// Target is where an instance may listen and what to ask it.
type Target struct {
	Port   int    // on the loopback addresses; 0 = none
	Socket string // path of a unix socket; "" = none
	Path   string // asked for by HTTP GET; "" = that it accepts is enough
	// Dial connects, where the instance has a network of its own; nil = from here.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Result is the verdict on one instance.
type Result struct {
	Healthy bool
	Address string // where it listens, "127.0.0.1:31200" or "unix:/path"; "" when nowhere
	Text    string // "GET /up = 503"
}

// Probe asks once and never returns later than its timeouts or ctx allow.
func (p Prober) Probe(ctx context.Context, t Target) Result {
	conn, address, err := p.connect(ctx, t)
	if err != nil {
		return Result{Text: err.Error()}
	}
	defer conn.Close()
	begun := time.Now()
	if t.Path == "" {
		return Result{Healthy: true, Address: address, Text: address + " accepts connections"}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	status, err := get(ctx, conn, t)
	if err != nil {
		return Result{Address: address, Text: fmt.Sprintf("GET %s: %s", t.Path, inWords(ctx, begun, err))}
	}
	return Result{
		Healthy: status >= 200 && status < 400,
		Address: address,
		Text:    fmt.Sprintf("GET %s = %d", t.Path, status),
	}
}

func (p Prober) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return 5 * time.Second
}

// endpoint is one place where an instance may listen. The second chance of a
// port, ::1, is not worth a word when nobody listens there.
type endpoint struct {
	network, address, shown string
	second                  bool
}

func (t Target) endpoints() []endpoint {
	var all []endpoint
	if t.Socket != "" {
		all = append(all, endpoint{"unix", t.Socket, "unix:" + t.Socket, false})
	}
	if t.Port != 0 {
		port := strconv.Itoa(t.Port)
		all = append(all,
			endpoint{"tcp", "127.0.0.1:" + port, "127.0.0.1:" + port, false},
			endpoint{"tcp", "[::1]:" + port, "[::1]:" + port, true})
	}
	return all
}

// connect tries the places in turn. On this machine a place where nobody
// listens says so at once, so taking turns costs nothing.
func (p Prober) connect(ctx context.Context, t Target) (net.Conn, string, error) {
	dial := t.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	places := t.endpoints()
	if len(places) == 0 {
		return nil, "", errors.New("no port and no socket to ask")
	}
	var said []string
	for _, e := range places {
		begun := time.Now()
		turn, cancel := context.WithTimeout(ctx, p.timeout())
		conn, err := dial(turn, e.network, e.address)
		if err == nil {
			cancel()
			return conn, e.shown, nil
		}
		if !e.second {
			said = append(said, fmt.Sprintf("connect %s: %s", e.shown, inWords(turn, begun, err)))
		}
		cancel()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", errors.New(strings.Join(said, "; "))
}

// get asks over conn and returns the status of the final answer.
func get(ctx context.Context, conn net.Conn, t Target) (int, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	host := "localhost"
	if t.Port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(t.Port))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/"+strings.TrimPrefix(t.Path, "/"), nil)
	if err != nil {
		return 0, err
	}
	req.Close = true
	req.Header.Set("User-Agent", "ten-probe")
	req.Header.Set("Accept", "*/*")
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(io.LimitReader(conn, maxAnswer), 1024)
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return 0, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp.StatusCode, nil // what follows is nobody's business: the caller hangs up
		}
	}
}

// inWords says what went wrong with a question without repeating where.
func inWords(ctx context.Context, begun time.Time, err error) string {
	var sys syscall.Errno
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "given up"
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		end, _ := ctx.Deadline()
		return fmt.Sprintf("no answer within %s", end.Sub(begun).Round(time.Millisecond))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection closed without an answer"
	case errors.As(err, &sys):
		return sys.Error()
	}
	return err.Error()
}
