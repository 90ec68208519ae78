package api

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"sync"
	"time"
)

// errTrailer carries the error of a text stream that had begun.
const errTrailer = "Ten-Error"

// logs streams lines. The first error before the first line is an ordinary
// answer; a later one travels in a trailer.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	limit, err := limitOf(r, maxLogLines)
	if err != nil {
		return err
	}
	q := LogQuery{
		Service:  r.FormValue("service"),
		Instance: r.FormValue("id"),
		Level:    r.FormValue("level"),
		Search:   r.FormValue("search"),
		Limit:    limit,
		Follow:   r.FormValue("follow") == "1",
	}
	if err := scope(r, &q); err != nil {
		return err
	}
	if q.Level != "" && q.Level != "stdout" && q.Level != "stderr" {
		return &Error{Code: CodeInvalid, Message: "level " + q.Level + ": want stdout or stderr"}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Trailer", errTrailer)
	out := &stream{w: w, rc: http.NewResponseController(w), live: q.Follow}
	ctx, cancel := s.while(r)
	defer cancel()
	if q.Follow {
		out.rc.SetWriteDeadline(time.Time{})
	}
	err = s.Logs.Write(ctx, out, q)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	if !out.begun && errors.Is(err, fs.ErrNotExist) {
		return &Error{Code: CodeNotFound, Message: "nothing was ever logged by " + q.target(), Hint: "ten ps -a lists what there is"}
	}
	if !out.begun {
		return err
	}
	w.Header().Set(errTrailer, asError(err).Message)
	return nil
}

// scope narrows a query to what its caller may read. An instance that was asked
// for and is somebody else's is refused.
func scope(r *http.Request, q *LogQuery) error {
	who := callerOf(r)
	if who.look {
		return nil
	}
	if q.Instance != "" {
		return own(r, q.Instance)
	}
	q.Instance = who.tenant
	return nil
}

func (q LogQuery) target() string {
	if q.Instance == "" {
		return q.Service
	}
	return q.Service + ":" + q.Instance
}

// apply carries out one request and streams its events as JSON lines. The work
// goes on when the client leaves: half an apply helps nobody.
func (s *Server) apply(w http.ResponseWriter, r *http.Request) error {
	var req ApplyRequest
	if err := decode(w, r, maxCommand, &req); err != nil {
		return err
	}
	who := callerOf(r)
	if req.Dir != "" && who.source != socketSource {
		return denied(Act{Action: "apply", Detail: req.Dir}, &Error{Code: CodeForbidden, Message: "a directory of the host can be applied only from the host itself", Hint: "push it, or use the socket: --data-dir DIR"})
	}
	req.By = who.name
	events := make(chan Event)
	gone := make(chan struct{})
	defer close(gone)
	s.applies.Go(func() {
		defer close(events)
		s.audited(r, Act{Action: "apply", Detail: req.Dir}, func() error {
			return s.runApply(who.serving, req, func(e Event) {
				select {
				case events <- e:
				case <-gone:
				}
			})
		})
	})
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(&stream{w: w, rc: http.NewResponseController(w), live: true})
	for {
		select {
		case e, ok := <-events:
			if !ok || out.Encode(e) != nil {
				return nil
			}
		case <-r.Context().Done():
			return nil
		}
	}
}

// runApply sends every event and, last, exactly one with Done.
func (s *Server) runApply(ctx context.Context, req ApplyRequest, send func(Event)) error {
	var mu sync.Mutex // the Actor may report from several goroutines
	var last Event
	err := s.Actor.Apply(ctx, req, func(e Event) {
		mu.Lock()
		if e.Done {
			last = e
		}
		mu.Unlock()
		if !e.Done {
			send(e)
		}
	})
	last.Done = true
	if last.At.IsZero() {
		last.At = time.Now()
	}
	if err != nil {
		e := asError(err)
		last.Error, last.Hint, last.Code = e.Message, e.Hint, e.Code
	}
	send(last)
	return err
}

// stream writes to a client that must keep reading: each write has its own
// deadline, and a live one reaches the client at once.
type stream struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	live  bool
	begun bool
}

func (s *stream) Write(p []byte) (int, error) {
	s.begun = true
	s.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := s.w.Write(p)
	if err == nil && s.live {
		err = s.rc.Flush()
		s.rc.SetWriteDeadline(time.Time{}) // HTTP/2 ends a stream whose deadline passes in silence
	}
	return n, err
}
