package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tenement/ten/host/tokens"
)

// What a client may take of the daemon's time and memory.
const (
	headerTimeout  = 5 * time.Second
	bodyTimeout    = 10 * time.Second
	writeTimeout   = 10 * time.Second // a client that reads nothing for so long is cut
	idleTimeout    = 2 * time.Minute
	closeTimeout   = 3 * time.Second
	maxHeader      = 16 << 10
	maxCommand     = 64 << 10
	maxAsk         = 16 << 20 // 10,000 services ask for as many commands
	maxHistory     = 10_000
	defaultHistory = 100
	maxLogLines    = 100_000
)

// Config is what a Server stands on. All fields but Door are required.
type Config struct {
	Viewer    Viewer
	Inspector Inspector
	Actor     Actor
	Logs      Logs
	Tokens    *tokens.Tokens
	Audit     Audit
	Herald    Herald
	Door      Door // nil where nothing is routed
	Log       *slog.Logger
}

// Server answers the API. What it keeps of its own is who watches.
type Server struct {
	Config
	applies  sync.WaitGroup
	watch    watch
	refusals refusals
}

// NewServer builds a Server; nothing runs until Serve.
func NewServer(c Config) *Server { return &Server{Config: c} }

// Serve answers on l until ctx ends, then lets requests finish for a moment,
// closes l and returns nil. An apply goes on when its client leaves and is told
// to stop only by the end of ctx.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.Handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       identify,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	var summing sync.WaitGroup
	defer summing.Wait()
	sums, end := context.WithCancel(ctx)
	defer end()
	summing.Go(func() { s.sumUp(sums) })
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			srv.Close()
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	}
	s.applies.Wait()
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the API: %w", err)
}

// Handler gives the routes without a listener. A request that did not come
// through Serve has no known caller and is refused.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, t := range s.routes() {
		mux.HandleFunc(t.pattern, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			rc.SetWriteDeadline(patience(r.Method))
			err := permit(r, t.need)
			if err == nil {
				err = t.serve(w, r)
			}
			if err != nil {
				s.refused(r, err)
				rc.SetWriteDeadline(time.Now().Add(writeTimeout))
				writeError(w, err)
			}
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/"); ok { // where only /api is ours
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = "/v1/"+rest, ""
		}
		mux.ServeHTTP(w, r)
	})
}

// patience is when the first byte of an answer must be out: at no time for an
// act, which takes as long as it takes.
func patience(method string) time.Time {
	if method != http.MethodGet && method != http.MethodHead {
		return time.Time{}
	}
	return time.Now().Add(writeTimeout + bodyTimeout)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	v, err := s.Viewer.Status(r.Context())
	return answer(w, v, err)
}

func (s *Server) instances(w http.ResponseWriter, r *http.Request) error {
	v, err := s.mine(r, r.FormValue("all") == "1")
	return answer(w, map[string][]Instance{"instances": v}, err)
}

func (s *Server) why(w http.ResponseWriter, r *http.Request) error {
	service := r.FormValue("service")
	if service == "" {
		return &Error{Code: CodeInvalid, Message: "service is missing"}
	}
	v, err := s.Viewer.Why(r.Context(), service)
	if !callerOf(r).act {
		v.Pending = hideActions(v.Pending)
	}
	return answer(w, v, err)
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) error {
	limit, err := limitOf(r, maxHistory)
	if err != nil {
		return err
	}
	v, err := s.Viewer.History(r.Context(), limit)
	if v == nil {
		v = []Entry{}
	}
	return answer(w, map[string][]Entry{"history": v}, err)
}

func (s *Server) observe(w http.ResponseWriter, r *http.Request) error {
	var ask Ask
	if err := decode(w, r, maxAsk, &ask); err != nil {
		return err
	}
	v, err := s.Viewer.Observe(r.Context(), ask)
	if !callerOf(r).act {
		v = hideObserved(v)
	}
	return answer(w, v, err)
}

func (s *Server) command(w http.ResponseWriter, r *http.Request) error {
	var c Command
	if err := decode(w, r, maxCommand, &c); err != nil {
		return err
	}
	if who := callerOf(r); !who.act && !c.mayBeGivenBy(who) {
		return denied(c.act(), &Error{
			Code: CodeForbidden, Message: "a tenant token may access only instance " + who.tenant + ", and spawn, stop, restart, wake and weigh it",
		})
	}
	text, err := s.do(r, c)
	return answer(w, map[string]string{"text": text}, err)
}

// mayBeGivenBy reports whether a command is about a tenant's own instance and
// nothing else.
func (c Command) mayBeGivenBy(who caller) bool {
	switch c.Verb {
	case VerbSpawn, VerbStop, VerbRestart, VerbWake, VerbWeight:
		return who.mayTouch(c.Instance)
	}
	return false
}

// do carries out a command for a caller who may give it.
func (s *Server) do(r *http.Request, c Command) (text string, err error) {
	c.By = callerOf(r).name
	err = s.audited(r, c.act(), func() error {
		text, err = s.Actor.Do(r.Context(), c)
		return err
	})
	return text, err
}

// limitOf reads ?limit=; 0 when it is not given.
func limitOf(r *http.Request, most int) (int, error) {
	text := r.FormValue("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, &Error{Code: CodeInvalid, Message: fmt.Sprintf("limit %q: want a number from 1 to %d", text, most)}
	}
	return n, nil
}

// decode reads one JSON value of at most limit bytes and refuses unknown keys:
// a command that is half understood must not be carried out.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer rc.SetReadDeadline(time.Time{}) // an old deadline would end r.Context()
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		// The rest must be read, or the server can't see the client leave.
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more than one JSON value")
	}
	return &Error{Code: CodeInvalid, Message: fmt.Sprintf("the request body is not what %s takes: %v", r.URL.Path, err)}
}

func answer(w http.ResponseWriter, v any, err error) error {
	return answerStatus(w, http.StatusOK, v, err)
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func answerStatus(w http.ResponseWriter, status int, v any, err error) error {
	if err != nil {
		return err
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // a client that is gone has no use for the error
	return nil
}

func writeError(w http.ResponseWriter, err error) {
	e := asError(err)
	w.Header().Del("Trailer")
	w.Header().Set("Content-Type", "application/json")
	status := e.Code.status()
	if other, ok := errors.AsType[*statusError](err); ok {
		status = other.status
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(e)
}
