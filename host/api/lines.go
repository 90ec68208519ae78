package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"
)

// logLine is one line of output as the API gives it.
type logLine struct {
	Timestamp int64  `json:"timestamp"` // in milliseconds
	Level     string `json:"level"`
	Process   string `json:"process"`
	Instance  string `json:"instance_id"`
	Message   string `json:"message"`
}

// parseLine reads what Logs writes.
func parseLine(line string) (l logLine, at time.Time, ok bool) {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) < 3 {
		return l, at, false
	}
	at, err := time.Parse(time.RFC3339Nano, parts[0])
	if err != nil {
		return l, at, false
	}
	l.Timestamp, l.Level = at.UnixMilli(), parts[1]
	l.Process, l.Instance, _ = strings.Cut(parts[2], ":")
	if len(parts) == 4 {
		l.Message = parts[3]
	}
	return l, at, true
}

// lineWriter takes what Logs writes and gives it on line by line.
type lineWriter struct {
	rest []byte
	each func(logLine, time.Time) error
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			w.rest = bytes.Clone(w.rest)
			return len(p), nil
		}
		w.rest = rest
		if l, at, ok := parseLine(string(line)); ok {
			if err := w.each(l, at); err != nil {
				return 0, err
			}
		}
	}
}

// logQuery reads what lines are asked for, narrowed to what the caller may see.
func logQuery(r *http.Request) (LogQuery, error) {
	limit, err := limitOf(r, maxLogLines)
	if err != nil {
		return LogQuery{}, err
	}
	q := LogQuery{
		Service: r.FormValue("process"), Instance: r.FormValue("id"), Level: r.FormValue("level"),
		Search: r.FormValue("search"), Limit: orDefault(limit, usualLines),
	}
	if q.Level != "" && q.Level != "stdout" && q.Level != "stderr" {
		return q, &Error{Code: CodeInvalid, Message: "level " + q.Level + ": want stdout or stderr"}
	}
	return q, scope(r, &q)
}

// usualLines is how many lines are given when nobody says how many.
const usualLines = 10_000

func (s *Server) logLines(w http.ResponseWriter, r *http.Request) error {
	q, err := logQuery(r)
	if err != nil {
		return err
	}
	lines := []logLine{}
	into := &lineWriter{each: func(l logLine, _ time.Time) error { lines = append(lines, l); return nil }}
	err = s.Logs.Write(r.Context(), into, q)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // nothing was said, which is an answer
	}
	return answer(w, lines, err)
}

// logStream sends lines as they come, and none from before.
func (s *Server) logStream(w http.ResponseWriter, r *http.Request) error {
	q, err := logQuery(r)
	if err != nil {
		return err
	}
	q.Follow, q.Limit = true, 1
	begun := time.Now()
	ctx, cancel := s.while(r)
	defer cancel()
	out := openEvents(w)
	defer out.keepAlive(ctx, cancel)()
	into := &lineWriter{each: func(l logLine, at time.Time) error {
		if at.Before(begun) {
			return nil
		}
		return out.send("", l)
	}}
	if err := s.Logs.Write(ctx, into, q); err != nil && ctx.Err() == nil {
		out.send("error", asError(err))
	}
	return nil
}

// events is a stream of server-sent events. A client that reads nothing is cut
// after writeTimeout; it holds up nobody but itself.
type events struct {
	mu  sync.Mutex
	out *stream
}

// quietTime is after how long without an event a client is told that it is still
// connected; a gone one is noticed by it.
const quietTime = 15 * time.Second

func openEvents(w http.ResponseWriter) *events {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	e := &events{out: &stream{w: w, rc: http.NewResponseController(w), live: true}}
	w.WriteHeader(http.StatusOK)
	e.write(": ten\n\n")
	return e
}

func (e *events) write(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.out.Write([]byte(text))
	return err
}

// send gives one event; name "" is the usual kind.
func (e *events) send(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text := "data: " + string(data) + "\n\n"
	if name != "" {
		text = "event: " + name + "\n" + text
	}
	return e.write(text)
}

// keepAlive says something now and then until ctx ends, and calls gone when that
// can't be written. The caller calls what it returns, which waits for its end.
func (e *events) keepAlive(ctx context.Context, gone func()) (wait func()) {
	var group sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	group.Go(func() {
		tick := time.NewTicker(quietTime)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if e.write(": still here\n\n") != nil {
					gone()
					return
				}
			}
		}
	})
	return func() { stop(); group.Wait() }
}
