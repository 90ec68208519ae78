package api

import (
	"context"
	"net/http"
	"time"
)

// Act is one line of the audit log: something that somebody did to this host, or
// was refused.
type Act struct {
	ID     int64         `json:"id"`
	At     time.Time     `json:"at"`
	Who    string        `json:"who"`
	Source string        `json:"source"` // "socket", "command line", or an address
	Action string        `json:"action"` // a Verb, "apply", "token-gen", "token-revoke"; "request" where it was refused by its address
	Target string        `json:"target"` // "web:prod", "web", or "" for the host
	Detail string        `json:"detail"`
	Result string        `json:"result"` // "ok", or what went wrong; "" while it is under way
	Took   time.Duration `json:"took"`
}

// AuditLog is the newest acts, newest first. Of older ones only the number is
// left.
type AuditLog struct {
	Acts    []Act `json:"acts"`
	Dropped int64 `json:"dropped"`
	// Note says in words why acts were dropped, "" when none were.
	Note string `json:"note,omitempty"`
}

// Audit keeps acts. What it has it never changes.
type Audit interface {
	// BeginAct notes an act before it is done.
	BeginAct(ctx context.Context, a Act) (id int64, err error)
	// EndAct notes, once, how it ended.
	EndAct(ctx context.Context, id int64, result string, took time.Duration) error
	// Refused notes an act that was not done. Many of these push out none that was.
	Refused(ctx context.Context, a Act) error
	Acts(ctx context.Context, limit int) (AuditLog, error)
}

// AuditViewer shows the audit log.
type AuditViewer interface {
	Acts(ctx context.Context, limit int) (AuditLog, error)
}

// audited carries out an act of a caller between its two notes. A log that can't
// be written does not stop people from stopping things: it is a warning.
func (s *Server) audited(r *http.Request, a Act, do func() error) error {
	who := callerOf(r)
	a.At, a.Who, a.Source = time.Now(), who.name, who.source
	ctx := context.WithoutCancel(r.Context()) // the act is not undone when its client leaves
	id, err := s.Audit.BeginAct(ctx, a)
	if err != nil {
		s.Log.Warn("audit log can't be written", "action", a.Action, "instance", a.Target, "err", err)
		return do()
	}
	result := "the daemon broke off"
	defer func() {
		if err := s.Audit.EndAct(ctx, id, result, time.Since(a.At)); err != nil {
			s.Log.Warn("audit log can't be written", "action", a.Action, "instance", a.Target, "err", err)
		}
	}()
	err = do()
	result = "ok"
	if err != nil {
		result = err.Error()
	}
	return err
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request) error {
	limit, err := limitOf(r, maxHistory)
	if err != nil {
		return err
	}
	v, err := s.Audit.Acts(r.Context(), orDefault(limit, defaultHistory))
	if v.Acts == nil {
		v.Acts = []Act{}
	}
	return answer(w, v, err)
}

func orDefault(n, usual int) int {
	if n == 0 {
		return usual
	}
	return n
}
