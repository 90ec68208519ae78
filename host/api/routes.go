package api

import (
	"fmt"
	"net/http"
)

// route is one address of the API. Who may use it stands beside it, and a
// handler that serves tenants asks own, or shows only what mayTouch allows.
type route struct {
	pattern string
	need    need
	serve   func(http.ResponseWriter, *http.Request) error
}

// routes is the one list of them.
func (s *Server) routes() []route {
	return []route{
		{"GET /v1/status", needLook, s.status},
		{"GET /v1/instances", needOwnLook, s.instances},
		{"GET /v1/why", needLook, s.why},
		{"GET /v1/history", needLook, s.history},
		{"GET /v1/logs", needOwnLook, s.logs},
		{"POST /v1/observe", needLook, s.observe},
		{"POST /v1/command", needOwnAct, s.command},
		{"POST /v1/apply", needAct, s.apply},

		{"GET /health", needNothing, alive},
		{"GET /api/openapi.json", needOwnLook, document},
		{"GET /api/instances", needOwnLook, s.rows},
		{"POST /api/instances/spawn", needOwnAct, s.spawn},
		{"DELETE /api/instances/{id}", needOwnAct, s.stop},
		{"POST /api/instances/{id}/restart", needOwnAct, s.restart},
		{"PUT /api/instances/{id}/weight", needOwnAct, s.weigh},
		{"GET /api/instances/{id}/health", needOwnLook, s.health},
		{"GET /api/instances/{id}/storage", needOwnLook, s.storage},
		{"POST /api/deploy", needAct, s.deploy},
		{"POST /api/route", needAct, s.reroute},
		{"GET /api/logs", needOwnLook, s.logLines},
		{"GET /api/logs/stream", needOwnLook, s.logStream},
		{"GET /api/telemetry", needOwnLook, s.telemetry},
		{"GET /api/tls/status", needOwnLook, s.tls},
		{"GET /api/plan", needLook, s.plan},
		{"POST /api/apply", needAct, s.apply},
		{"GET /api/events", needOwnLook, s.eventStream},
		{"GET /api/tokens", needAct, s.listTokens},
		{"POST /api/tokens", needAct, s.createToken},
		{"DELETE /api/tokens/{id}", needAct, s.revokeToken},
		{"GET /api/audit", needLook, s.audit},

		{"/", needNothing, noRoute},
	}
}

func alive(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, map[string]string{"status": "ok"}, nil)
}

func noRoute(_ http.ResponseWriter, r *http.Request) error {
	return &Error{Code: CodeNotFound, Message: fmt.Sprintf("no such address: %s %s", r.Method, r.URL.Path), Hint: "the daemon may be older than this ten: ten version, ten status"}
}
