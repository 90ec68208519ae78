package api

import (
	_ "embed"
	"net/http"
	"time"

	"github.com/tenement/ten/runtimes"
)

// openAPI describes every address under /api/ and /health.
//
//go:embed openapi.json
var openAPI []byte

func document(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Write(openAPI) // a client that is gone has no use for the error
	return nil
}

func (s *Server) plan(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Inspector.Plan(r.Context())
	if !callerOf(r).act {
		p = hidePlan(p)
	}
	return answer(w, p, err)
}

func (s *Server) tls(w http.ResponseWriter, _ *http.Request) error {
	if s.Door == nil {
		return answer(w, TLS{Recommendation: "nothing is served by name on this host"}, nil)
	}
	return answer(w, s.Door.TLS(), nil)
}

// telemetry is numbers about instances; a tenant gets those of its own.
type telemetry struct {
	Summary   summary `json:"summary"`
	Instances []meter `json:"instances"`
}

type summary struct {
	Total    int    `json:"total_instances"`
	Healthy  int    `json:"healthy_instances"`
	Requests uint64 `json:"total_requests"`
}

type meter struct {
	ID        string  `json:"id"`
	Process   string  `json:"process"`
	Instance  string  `json:"instance"`
	Health    string  `json:"health"`
	Uptime    int64   `json:"uptime_secs"`
	Idle      int64   `json:"idle_secs"`
	Restarts  int     `json:"restarts"`
	Weight    int     `json:"weight"`
	Requests  uint64  `json:"requests_total"`
	AverageMS float64 `json:"request_duration_avg_ms"`
	P99MS     float64 `json:"request_duration_p99_ms"`
	Used      int64   `json:"storage_used_bytes"`
	Quota     *int64  `json:"storage_quota_bytes"`
}

func (s *Server) telemetry(w http.ResponseWriter, r *http.Request) error {
	list, err := s.mine(r, false)
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
	v := telemetry{Instances: make([]meter, len(list))}
	v.Summary.Total = len(list)
	for i, in := range list {
		base := newRow(in, kept[ids[i]], time.Now())
		m := meter{
			ID: base.ID, Process: in.Service, Instance: in.ID, Health: base.Health, Uptime: base.Uptime, Idle: base.Idle,
			Restarts: in.Restarts, Weight: in.Weight, Used: base.StorageUsed, Quota: base.Quota,
		}
		if s.Door != nil {
			q := s.Door.Requests(ids[i])
			m.Requests, m.AverageMS, m.P99MS = q.Total, q.AverageMS, q.P99MS
		}
		if m.Health == string(runtimes.Healthy) {
			v.Summary.Healthy++
		}
		v.Summary.Requests += m.Requests
		v.Instances[i] = m
	}
	return answer(w, v, nil)
}
