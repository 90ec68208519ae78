package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// The routes about instances, with the keys that clients of the Rust tenement
// know. What is here beyond them comes after.

// row is one instance.
type row struct {
	ID          string         `json:"id"` // service:id
	Socket      string         `json:"socket"`
	Uptime      int64          `json:"uptime_secs"`
	Idle        int64          `json:"idle_secs"`
	Restarts    int            `json:"restarts"`
	Health      string         `json:"health"`
	StorageUsed int64          `json:"storage_used_bytes"`
	Quota       *int64         `json:"storage_quota_bytes"`
	Weight      int            `json:"weight"`
	Phase       runtimes.Phase `json:"phase"`
	Isolation   runtimes.Level `json:"isolation"`
	Open        int            `json:"open"`
	ByHand      bool           `json:"by_hand"`
	Revision    string         `json:"revision"`
	Note        string         `json:"note"`
}

func newRow(i Instance, kept Storage, now time.Time) row {
	r := row{
		ID: i.Service + ":" + i.ID, Socket: i.Address, Restarts: i.Restarts, Health: HealthWord(i.Phase, i.Health),
		StorageUsed: kept.Used, Quota: orNull(kept.Quota), Weight: i.Weight,
		Phase: i.Phase, Isolation: i.Isolation, Open: i.Open, ByHand: i.ByHand, Revision: i.Revision, Note: i.Note,
	}
	if i.Phase.Alive() && !i.StartedAt.IsZero() {
		r.Uptime = seconds(now.Sub(i.StartedAt))
	}
	r.Idle = seconds(i.Idle(now))
	return r
}

// Idle is for how long nobody has asked anything of an instance.
func (i Instance) Idle(now time.Time) time.Duration {
	since := i.LastRequest
	if since.Before(i.StartedAt) {
		since = i.StartedAt
	}
	if since.IsZero() || i.Open > 0 {
		return 0
	}
	return now.Sub(since)
}

// HealthWord is the one word for how an instance is: healthy, degraded,
// unhealthy, failed or unknown.
func HealthWord(p runtimes.Phase, h runtimes.Health) string {
	switch {
	case p == runtimes.Failed:
		return "failed"
	case h == "" || !p.Alive():
		return string(runtimes.Unknown)
	}
	return string(h)
}

func seconds(d time.Duration) int64 { return max(0, int64(d/time.Second)) }

func orNull(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// mine lists the instances that a caller may see.
func (s *Server) mine(r *http.Request, all bool) ([]Instance, error) {
	list, err := s.Viewer.Instances(r.Context(), all)
	if err != nil {
		return nil, err
	}
	who := callerOf(r)
	shown := make([]Instance, 0, len(list))
	for _, i := range list {
		if who.mayTouch(i.ID) {
			shown = append(shown, i)
		}
	}
	return shown, nil
}

func (s *Server) rows(w http.ResponseWriter, r *http.Request) error {
	list, err := s.mine(r, r.FormValue("all") == "1")
	if err != nil {
		return err
	}
	ids := make([]runtimes.ID, len(list))
	for i, in := range list {
		ids[i] = runtimes.ID{Service: in.Service, Instance: in.ID}
	}
	kept, err := s.Inspector.Storage(r.Context(), false, ids...)
	if err != nil {
		return err
	}
	shown := make([]row, len(list))
	for i, in := range list {
		shown[i] = newRow(in, kept[ids[i]], time.Now())
	}
	return answer(w, shown, nil)
}

// target reads the instance in the path, which must be the caller's.
func target(r *http.Request) (runtimes.ID, error) {
	id, err := runtimes.ParseID(r.PathValue("id"))
	if err != nil {
		return id, &Error{Code: CodeInvalid, Message: err.Error()}
	}
	if err := own(r, id.Instance); err != nil {
		return id, err
	}
	return id, valid(id)
}

// valid refuses names that no config could hold.
func valid(id runtimes.ID) error {
	if !schema.ValidServiceName(id.Service) || !schema.ValidInstanceID(id.Instance) {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("instance %q: want service:id in lower-case letters, digits and -, for example web:prod", id)}
	}
	return nil
}

// hand carries out a command about one instance for its owner.
func (s *Server) hand(r *http.Request, c Command) error {
	if err := own(r, c.Instance); err != nil {
		return denied(c.act(), err)
	}
	if err := valid(runtimes.ID{Service: c.Service, Instance: c.Instance}); err != nil {
		return err
	}
	_, err := s.do(r, c)
	return err
}

// failed makes a 500 of what kept a start from succeeding, as clients know it.
func failed(err error) error {
	if err == nil {
		return nil
	}
	e := asError(err)
	if e.Code != CodeInvalid && e.Code != CodeForbidden && e.Code != CodeNoToken {
		return &statusError{e, http.StatusInternalServerError}
	}
	return err
}

// statusError is an Error whose status is not that of its code.
type statusError struct {
	err    *Error
	status int
}

func (e *statusError) Error() string { return e.err.Error() }

func (e *statusError) Unwrap() error { return e.err }

type spawnRequest struct {
	Process string `json:"process"`
	ID      string `json:"id"`
}

type spawned struct {
	Instance string `json:"instance"`
	Socket   string `json:"socket"`
	Port     *int   `json:"port"`
}

func (s *Server) spawn(w http.ResponseWriter, r *http.Request) error {
	var q spawnRequest
	if err := decode(w, r, maxCommand, &q); err != nil {
		return err
	}
	err := s.hand(r, Command{Verb: VerbSpawn, Service: q.Process, Instance: q.ID})
	return s.answerSpawned(w, r, runtimes.ID{Service: q.Process, Instance: q.ID}, err)
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request) error {
	id, err := target(r)
	if err != nil {
		return err
	}
	err = s.hand(r, Command{Verb: VerbRestart, Service: id.Service, Instance: id.Instance})
	return s.answerSpawned(w, r, id, err)
}

func (s *Server) answerSpawned(w http.ResponseWriter, r *http.Request, id runtimes.ID, err error) error {
	if err != nil {
		return failed(err)
	}
	address, err := s.address(r.Context(), id)
	if err != nil {
		return failed(err)
	}
	made := spawned{Instance: id.String(), Socket: address}
	if _, port, err := net.SplitHostPort(address); err == nil {
		if n, err := strconv.Atoi(port); err == nil {
			made.Port = &n
		}
	}
	return answer(w, made, nil)
}

// address is where an instance listens, "" when nowhere.
func (s *Server) address(ctx context.Context, id runtimes.ID) (string, error) {
	list, err := s.Viewer.Instances(ctx, false)
	address := ""
	for _, i := range list { // oldest first: the newest counts
		if i.Service == id.Service && i.ID == id.Instance && i.Address != "" {
			address = i.Address
		}
	}
	return address, err
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) error {
	id, err := target(r)
	if err != nil {
		return err
	}
	return noContent(w, s.hand(r, Command{Verb: VerbStop, Service: id.Service, Instance: id.Instance}))
}

func (s *Server) weigh(w http.ResponseWriter, r *http.Request) error {
	id, err := target(r)
	if err != nil {
		return err
	}
	var q struct {
		Weight *uint8 `json:"weight"`
	}
	if err := decode(w, r, maxCommand, &q); err != nil {
		return err
	}
	if q.Weight == nil {
		return &Error{Code: CodeInvalid, Message: "weight is missing: want 0 to 100"}
	}
	weight := min(int(*q.Weight), 100)
	err = s.hand(r, Command{Verb: VerbWeight, Service: id.Service, Instance: id.Instance, Weight: weight})
	return answer(w, map[string]any{"instance": id.String(), "weight": weight}, err)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	id, err := target(r)
	if err != nil {
		return err
	}
	word, err := s.Inspector.Probe(r.Context(), id)
	if err != nil {
		return err
	}
	text := string(word)
	if word == runtimes.Unknown {
		list, err := s.Viewer.Instances(r.Context(), true)
		if err != nil {
			return err
		}
		for _, i := range list {
			if i.Service == id.Service && i.ID == id.Instance {
				text = HealthWord(i.Phase, runtimes.Unknown)
			}
		}
	}
	return answer(w, map[string]string{"instance": id.String(), "health": text}, nil)
}

func (s *Server) storage(w http.ResponseWriter, r *http.Request) error {
	id, err := target(r)
	if err != nil {
		return err
	}
	all, err := s.Inspector.Storage(r.Context(), true, id)
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{Code: CodeNotFound, Message: fmt.Sprintf("%s keeps nothing on this host", id), Hint: "ten data list"}
	}
	if err != nil {
		return err
	}
	kept := all[id]
	v := struct {
		Used  int64    `json:"used_bytes"`
		Quota *int64   `json:"quota_bytes"`
		Usage *float64 `json:"usage_percent"`
		Path  string   `json:"path"`
	}{kept.Used, orNull(kept.Quota), nil, kept.Path}
	if kept.Quota > 0 {
		percent := float64(kept.Used) * 100 / float64(kept.Quota)
		v.Usage = &percent
	}
	return answer(w, v, nil)
}

type deployRequest struct {
	Process string `json:"process"`
	Version string `json:"version"`
	Weight  *uint8 `json:"weight"`
	Timeout *int64 `json:"timeout"`
}

// maxDeploy bounds how long a deploy may be told to wait, in seconds.
const maxDeploy = 3600

func (s *Server) deploy(w http.ResponseWriter, r *http.Request) error {
	var q deployRequest
	if err := decode(w, r, maxCommand, &q); err != nil {
		return err
	}
	weight, timeout := 100, int64(30)
	if q.Weight != nil {
		weight = min(int(*q.Weight), 100)
	}
	if q.Timeout != nil {
		timeout = *q.Timeout
	}
	if timeout < 1 || timeout > maxDeploy {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("timeout %d: want 1 to %d seconds", timeout, maxDeploy)}
	}
	id := runtimes.ID{Service: q.Process, Instance: q.Version}
	err := s.hand(r, Command{Verb: VerbDeploy, Service: id.Service, Instance: id.Instance, Weight: weight, Timeout: time.Duration(timeout) * time.Second})
	if err != nil {
		return failed(err)
	}
	address, err := s.address(r.Context(), id)
	return answer(w, map[string]any{"instance": id.String(), "socket": address, "weight": weight, "status": "healthy"}, failed(err))
}

type routeRequest struct {
	Process string `json:"process"`
	From    string `json:"from"`
	To      string `json:"to"`
}

func (s *Server) reroute(w http.ResponseWriter, r *http.Request) error {
	var q routeRequest
	if err := decode(w, r, maxCommand, &q); err != nil {
		return err
	}
	from, to := runtimes.ID{Service: q.Process, Instance: q.From}, runtimes.ID{Service: q.Process, Instance: q.To}
	if err := valid(from); err != nil {
		return err
	}
	err := s.hand(r, Command{Verb: VerbRoute, Service: q.Process, Instance: q.To, From: q.From})
	return answer(w, map[string]any{
		"from_instance": from.String(), "to_instance": to.String(), "from_weight": 0, "to_weight": 100,
	}, failed(err))
}
